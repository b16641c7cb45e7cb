"""How fast examples/job_executor.py is: from an event to its handler, and through a queue of jobs.

    python benchmarks/executor.py [--jobs N]

Run from the project's root, with the dev extra, on an otherwise idle machine. It takes about half a minute.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.account import Account, Device, running_account
from tests.support.raw_device import RawDevice

EXECUTOR = Path(__file__).parents[1] / "examples" / "job_executor.py"
THING = "Bench"
EVENTS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="how many are queued (default: 200)")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as name, running_account(Path(name)) as account:
        folder = Path(name)
        account.iot.create_thing(thingName=THING)
        device = account.device(THING)
        (folder / "handler").write_text(f'#!/bin/sh\ndate +%s%N >> "{folder / "started"}"\n')
        (folder / "handler").chmod(0o755)
        event_to_handler(account, device, folder)
        through_the_queue(account, device, folder, jobs)


@contextmanager
def executor(account: Account, device: Device, folder: Path) -> Any:
    """Run it; yields what it logs, line by line."""
    where = account.local
    command = [sys.executable, str(EXECUTOR), "--run", str(folder / "handler"), "--state", str(folder / "state")]
    environment = {"IOT_PORT": str(where.port), "IOT_CA_FILE": str(where.ca_file), "IOT_CLIENT_ID": "test-executor"}
    process = subprocess.Popen(
        [*command, where.endpoint, device.cert, device.key, THING], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process.stderr
    finally:
        process.terminate()
        process.wait()


def until(log: Any, words: str) -> None:
    """Read on to the line that holds these words."""
    for line in log:
        if words in line:
            return
    raise RuntimeError(f"the executor ended without {words!r}")


def event_to_handler(account: Account, device: Device, folder: Path) -> None:
    """From the arrival of the event at a second client until the handler's first command has run."""
    taken = []
    with RawDevice(account.local, device) as listener, executor(account, device, folder) as log:
        account.create_job(THING, "First")
        until(log, "First: SUCCEEDED")
        for number in range(EVENTS):
            listener.events()
            account.create_job(THING, f"Event-{number}", wait=False)
            while f"Event-{number}" not in str(listener.event()):
                pass
            arrived = time.time_ns()
            until(log, f"Event-{number}: SUCCEEDED")
            started = int((folder / "started").read_text().splitlines()[-1])
            taken.append((started - arrived) / 1e6)
    p99 = sorted(taken)[int(len(taken) * 0.99)]
    print(f"event to handler: median {statistics.median(taken):.1f} ms, p99 {p99:.1f} ms   50 ms at most", flush=True)


def through_the_queue(account: Account, device: Device, folder: Path, jobs: int) -> None:
    """From the first start to the last outcome."""
    account.queue(THING, *(f"Queued-{number}" for number in range(jobs)))
    with executor(account, device, folder) as log:
        until(log, ": started")
        begun = time.perf_counter()
        until(log, f"Queued-{jobs - 1}: SUCCEEDED")
        rate = jobs / (time.perf_counter() - begun)
    print(f"{jobs} queued jobs: {rate:.1f} a second   30 at least", flush=True)


if __name__ == "__main__":
    main()
