"""How fast examples/job_executor.py is: from an event to its handler, and through a queue of jobs.

    python benchmarks/executor.py [--jobs N]

Run it from the project's root, with the dev extra, on an otherwise idle machine. It takes about
half a minute.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.aws.account import Account, Device, running_account
from tests.support.drivers.executor import Bench, Executor, connection
from tests.support.drivers.raw_device import RawDevice

from compare import told

THING = "Bench"
EVENTS = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=200, help="how many are queued (default: 200)")
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as name, running_account(Path(name)) as account:
        account.iot.create_thing(thingName=THING)
        device = account.device(THING)
        bench = Bench(Path(name), connection(account.local, device))
        bench.write("date +%s%N >> started")
        event_to_handler(account, device, bench)
        through_the_queue(account, bench, jobs)


def event_to_handler(account: Account, device: Device, bench: Bench) -> None:
    """From the arrival of the event at a second client to the first command of the handler."""
    taken = []
    with RawDevice(account.local, device) as listener, Executor(bench) as executor:
        account.create_job(THING, "First")
        executor.wait_for("First: SUCCEEDED")
        for number in range(EVENTS):
            listener.events()
            account.create_job(THING, f"Event-{number}")
            while f"Event-{number}" not in str(listener.event()):
                pass
            arrived = time.time_ns()
            executor.wait_for(f"Event-{number}: SUCCEEDED")
            taken.append((started(bench)[-1] - arrived) / 1e6)
    told("event to handler", taken, "50 ms at most")


def through_the_queue(account: Account, bench: Bench, jobs: int) -> None:
    """From the first handler to the last one."""
    *_, last = account.queue(THING, *(f"Queued-{number}" for number in range(jobs)))
    with Executor(bench) as executor:
        executor.wait_for(f"{last}: SUCCEEDED", patience=60)
    times = started(bench)[-jobs:]
    rate = (jobs - 1) / (times[-1] - times[0]) * 1e9
    print(f"{jobs} queued jobs: {rate:.1f} a second   30 at least", flush=True)


def started(bench: Bench) -> list[int]:
    """When handlers were started, in nanoseconds."""
    return [int(line) for line in bench.wrote("started")]


if __name__ == "__main__":
    main()
