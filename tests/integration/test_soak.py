"""A long session: thousands of events and commands, and nothing of them stays behind."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.support.drivers.program import COMMAND, environment
from tests.support.servers.broker import Broker

EVENTS, COMMANDS, JOBS = 5000, 2000, 60
PATIENCE = 60.0
# Heap growth settles after the first events; what would leak would be 7,000 times something.
GROWTH_ALLOWED = 48 * 2**20


def test_soak(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """5,000 events and 2,000 commands: all are shown, and neither threads nor memory grow."""
    with (
        Broker(tmp_path) as broker,
        (tmp_path / "stdout").open("wb") as stdout,
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(
            [*COMMAND, *broker.arguments(output="json")],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env=environment(broker.environment),
        ) as program,
    ):
        try:
            measured = psutil.Process(program.pid)
            shown = Shown(tmp_path / "stdout")
            broker.wait_for(lambda: {"notify", "notify-next"} <= set(broker.subscribed))
            send(program, range(JOBS))
            broker.publish_all("notify", [b'{"timestamp": -1}'] * 100)
            shown.wait_for(JOBS + 100)
            threads, size = measured.num_threads(), measured.memory_info().rss

            sending = threading.Thread(target=send, args=(program, range(COMMANDS)))
            sending.start()
            for first in range(0, EVENTS, 50):
                broker.publish_all(
                    "notify", [b'{"timestamp": %d}' % (first + number) for number in range(50)]
                )
            sending.join(PATIENCE)
            shown.wait_for(JOBS + 100 + EVENTS + COMMANDS)

            growth = measured.memory_info().rss - size
            record_property("memory growth in KiB", growth // 1024)
            assert measured.num_threads() <= threads
            assert growth < GROWTH_ALLOWED
            program.communicate(timeout=10)
            assert program.returncode == 0
        finally:
            program.kill()
        lines = [json.loads(line) for line in (tmp_path / "stdout").read_text().splitlines()]
        assert Counter(line["type"] for line in lines) == {
            "JobExecutionsChangedEvent": EVENTS + 100,
            "DescribeJobExecutionResponse": COMMANDS + JOBS,
        }
        events = [
            line["body"]["timestamp"]
            for line in lines
            if line["type"] == "JobExecutionsChangedEvent"
        ]
        assert events == [-1] * 100 + list(range(EVENTS))
        tokens = [line["body"]["clientToken"] for line in lines if "clientToken" in line["body"]]
        assert tokens == [request.token for request in broker.requests]
        assert broker.connections == 1
        assert (tmp_path / "stderr").read_text().count("\n") == 1  # that it is connected


def send(program: "subprocess.Popen[bytes]", numbers: range) -> None:
    """More job ids than the connection may have subscriptions."""
    assert program.stdin is not None
    lines = [f"describe-job-execution Job{number % JOBS}\n" for number in numbers]
    program.stdin.write("".join(lines).encode())
    program.stdin.flush()


class Shown:
    """The lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wait_for(self, number: int) -> None:
        end = time.monotonic() + PATIENCE
        while (found := self._path.read_bytes().count(b"\n")) < number:
            assert time.monotonic() < end, f"{found} lines of {number}"
            time.sleep(0.05)
