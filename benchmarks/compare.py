"""Compare the program with a bare script on the same SDKs (bare.py), against one MiniStack.

    python benchmarks/compare.py [--rounds N]

Run from the project's root, with the dev extra, on an otherwise idle machine. It takes about two
minutes.
"""

import argparse
import bisect
import os
import pty
import socket
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.aws.account import Account, Device, running_account
from tests.support.drivers.program import environment

from jobs_sandbox.local.service import ministack_settings

PROGRAM = [str(Path(sys.executable).with_name("jobs-sandbox"))]
BARE = [sys.executable, str(Path(__file__).with_name("bare.py"))]
ASK = "get-pending-job-executions\n"
KEY = "¤"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="how often each measure is taken (default: 9)"
    )
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, running_account(Path(folder)) as account:
        device = account.device("Bench")
        env = environment(
            account.operator("Bench") | {"XDG_STATE_HOME": folder, "TERM": "xterm-256color"}
        )
        arguments = account.arguments(device)
        print(f"{'measure':<44}{'program':>10}{'against':>10}   ratio (spread)      goal")
        compare_starts(rounds)
        compare_answers(rounds, arguments, env)
        compare_local(rounds)
        compare_events(account, device, arguments, env)


def row(
    measure: str, ours: Sequence[float], other: Sequence[float], goal: str, unit: str = "ms"
) -> None:
    """A line of the table: medians, and the ratio of each pair that was taken in turn."""
    ratios = sorted(a / b for a, b in zip(ours, other, strict=True))
    middle = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    medians = (f"{statistics.median(values):.1f}" for values in (ours, other))
    print(
        "{:<44}{:>7} {u}{:>7} {u}   {:<20}{}".format(measure, *medians, middle, goal, u=unit),
        flush=True,
    )


def timed(command: Sequence[str], script: str = "", env: dict[str, str] | None = None) -> float:
    """How long a whole process takes, in milliseconds."""
    began = time.perf_counter()
    subprocess.run(command, input=script, capture_output=True, text=True, env=env, check=True)
    return (time.perf_counter() - began) * 1000


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Every measure once a round, after a first round that only warms up."""
    for measure in measures:
        measure()
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [list(column) for column in zip(*taken, strict=True)]


def compare_starts(rounds: int) -> None:
    baseline = [sys.executable, "-c", "import argparse, json"]
    version, usage, python = in_turn(
        rounds * 2,
        lambda: timed([*PROGRAM, "--version"]),
        lambda: timed([*PROGRAM, "--help"]),
        lambda: timed(baseline),
    )
    row("--version / python -c 'import argparse, json'", version, python, "at most 1.3")
    row("--help / the same", usage, python, "at most 1.3")


def compare_answers(rounds: int, arguments: list[str], env: dict[str, str]) -> None:
    first, bare = in_turn(
        rounds,
        lambda: timed([*PROGRAM, *arguments], ASK + "quit\n", env),
        lambda: timed([*BARE, *arguments], "", env),
    )
    row("start, first answer, end", first, bare, "at most 1.0")
    many, paced, unpaced = in_turn(
        max(3, rounds // 3),
        lambda: timed([*PROGRAM, *arguments], ASK * 200, env),
        lambda: timed([*BARE, *arguments, "--requests", "200"], "", env),
        lambda: timed([*BARE, *arguments, "--requests", "200", "--no-flow-control"], "", env),
    )
    row("200 requests / the SDK's flow control", many, paced, "at most 0.2")
    row("200 requests / without flow control", many, unpaced, "at most 1.25")


def compare_local(rounds: int) -> None:
    """--local from the command line to the first answer, and MiniStack's own start within it."""

    def answered() -> float:
        began = time.perf_counter()
        with subprocess.Popen(
            [*PROGRAM, "--local"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as local:
            assert local.stdin
            assert local.stdout
            local.stdin.write(ASK.encode())
            local.stdin.flush()
            local.stdout.readline()
            return (time.perf_counter() - began) * 1000

    def started() -> float:
        """MiniStack by itself, as it is started from a shell, until it accepts connections."""
        with (
            tempfile.TemporaryDirectory() as folder,
            socket.create_server(("127.0.0.1", 0)) as control,
        ):
            with socket.create_server(("127.0.0.1", 0)) as mqtt:
                ports = {
                    "GATEWAY_PORT": control.getsockname()[1],
                    "IOT_MTLS_PORT": mqtt.getsockname()[1],
                }
            control.close()
            settings = ministack_settings(Path(folder)) | {
                name: str(port) for name, port in ports.items()
            }
            began = time.perf_counter()
            with psutil.Popen(
                [sys.executable, "-m", "ministack"], env=environment(settings), stderr=DEVNULL
            ) as process:
                while not _accepts(ports["GATEWAY_PORT"]):
                    time.sleep(0.0005)
                taken = (time.perf_counter() - began) * 1000
                process.kill()
            return taken

    whole, own = in_turn(rounds, answered, started)
    over = statistics.median(a - b for a, b in zip(whole, own, strict=True))
    row(
        "--local to the first answer / MiniStack",
        whole,
        own,
        f"+450 ms at most (is +{over:.0f} ms)",
    )


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Watched:
    """A process whose output is time-stamped as it comes; in a pseudo-terminal or on a pipe."""

    def __init__(self, command: Sequence[str], env: dict[str, str], *, terminal: bool) -> None:
        self.output = bytearray()
        self.stamps: list[tuple[int, float]] = []  # (length of the output then, when)
        if terminal:
            self._fd, other = pty.openpty()
            termios.tcsetwinsize(other, (40, 100))
            self.process = psutil.Popen(command, stdin=other, stdout=other, stderr=other, env=env)
            os.close(other)
            self._input = self._fd
        else:
            self.process = psutil.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=env,
            )
            self._fd, self._input = self.process.stdout.fileno(), self.process.stdin.fileno()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with suppress(OSError):
            while chunk := os.read(self._fd, 65536):
                if (
                    b"\x1b[6n" in chunk
                ):  # the prompt asks for the cursor's position, as every terminal can tell
                    self.send("\x1b[1;1R")
                self.output += chunk
                self.stamps.append((len(self.output), time.perf_counter()))

    def send(self, keys: str) -> None:
        os.write(self._input, keys.encode())

    def when(self, text: str, begin: int, patience: float = 10) -> float:
        """When ``text`` had come whole, after ``begin`` bytes of output."""
        end = time.perf_counter() + patience
        while (at := self.output.find(text.encode(), begin)) < 0:
            if time.perf_counter() > end:
                raise TimeoutError(text)
            time.sleep(0.0005)
        at += len(text.encode())
        return self.stamps[bisect.bisect_left(self.stamps, (at, 0.0))][1]

    def peak_memory(self) -> float:
        """The peak resident memory so far, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def watched(
    command: Sequence[str], env: dict[str, str], ready: str, *, terminal: bool, ask: str = ""
) -> Any:
    process = Watched(command, env, terminal=terminal)
    try:
        process.send(ask)
        process.when(ready, 0)
        yield process
    finally:
        process.end()


def compare_events(
    account: Account, device: Device, arguments: list[str], env: dict[str, str]
) -> None:
    listen = [*BARE, *arguments, "--listen", "--no-flow-control"]
    with (
        watched([*PROGRAM, *arguments], env, "jobs-sandbox>", terminal=True) as screen,
        watched([*PROGRAM, *arguments], env, "timestamp", terminal=False, ask=ASK) as pipe,
        watched(listen, env, "listening", terminal=False) as bare,
    ):
        row(
            "peak memory in a terminal, after the start",
            [screen.peak_memory()],
            [bare.peak_memory()],
            "at most 1.3",
            "MB",
        )
        row(
            "peak memory on a pipe, after the start",
            [pipe.peak_memory()],
            [bare.peak_memory()],
            "at most 1.3",
            "MB",
        )
        event_latency(account, device, screen, bare)
        echo_latency(account, device, screen)
        for number in range(1250):
            burst(account, device, f"Flood-{number}")
        row(
            "peak memory in a terminal, after 5,000 events",
            [screen.peak_memory()],
            [bare.peak_memory()],
            "flat",
            "MB",
        )
        row(
            "peak memory on a pipe, after 5,000 events",
            [pipe.peak_memory()],
            [bare.peak_memory()],
            "flat",
            "MB",
        )


def burst(account: Account, device: Device, job_id: str) -> None:
    """A job that comes and goes: four events."""
    account.create_job(device.thing, job_id)
    account.iot.cancel_job(jobId=job_id, force=True)


def event_latency(
    account: Account, device: Device, screen: Watched, bare: Watched, events: int = 200
) -> None:
    """How much later the program shows an event than the bare script, while a user types."""
    over = []
    for number in range(events):
        job_id = f"Event-{number}"
        begins = len(screen.output), len(bare.output)
        screen.send("a")
        account.create_job(device.thing, job_id)
        shown = screen.when(f'"{job_id}"', begins[0])  # coloured by itself
        printed = bare.when(job_id, begins[1])
        over.append((shown - printed) * 1000)
        account.iot.cancel_job(jobId=job_id, force=True)
        screen.send("\x7f")
    told("event on the screen, later than bare prints it", over, "median 10 ms, p99 50 ms at most")


def echo_latency(account: Account, device: Device, screen: Watched, keys: int = 200) -> None:
    """From a keystroke to its echo, while 100 events a second arrive."""
    done = threading.Event()

    def publish() -> None:
        began, number = time.perf_counter(), 0
        while not done.is_set():
            burst(account, device, f"Echo-{number}")
            number += 1
            time.sleep(max(0.0, began + number * 0.04 - time.perf_counter()))

    publisher = threading.Thread(target=publish)
    publisher.start()
    taken = []
    for _ in range(keys):
        begin = len(screen.output)
        pressed = time.perf_counter()
        screen.send(KEY)
        shown = screen.when(KEY, begin)
        taken.append((shown - pressed) * 1000)
        screen.send("\x7f")
        time.sleep(0.03)  # the rhythm of a fast typist
    done.set()
    publisher.join()
    told("keystroke to echo, at 100 events a second", taken, "p99 50 ms at most")


def told(measure: str, values: list[float], goal: str) -> None:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(
        f"{measure:<54}median {statistics.median(ordered):.1f} ms, p99 {p99:.1f} ms   {goal}",
        flush=True,
    )


if __name__ == "__main__":
    main()
