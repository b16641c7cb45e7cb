"""How fast examples/job_executor.py is: from an event to its handler, and through a queue of jobs.

    python benchmarks/executor.py [--jobs N]

Run from the project's root, with the dev extra, on an otherwise idle machine. It takes about half a minute.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.account import Account, Device, running_account
from tests.support.executor import Executor, Handlers, connection
from tests.support.raw_device import RawDevice

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
        handlers = Handlers(Path(name))
        handlers.write("date +%s%N >> started")
        event_to_handler(account, device, handlers)
        through_the_queue(account, device, handlers, jobs)


def event_to_handler(account: Account, device: Device, handlers: Handlers) -> None:
    """From the arrival of the event at a second client until the handler's first command has run."""
    taken = []
    with (
        RawDevice(account.local, device) as listener,
        Executor(handlers, connection(account.local, device)) as executor,
    ):
        account.create_job(THING, "First")
        executor.wait_for("First: SUCCEEDED")
        for number in range(EVENTS):
            listener.events()
            account.create_job(THING, f"Event-{number}", wait=False)
            while f"Event-{number}" not in str(listener.event()):
                pass
            arrived = time.time_ns()
            executor.wait_for(f"Event-{number}: SUCCEEDED")
            taken.append((started(handlers)[-1] - arrived) / 1e6)
    told("event to handler", taken, "50 ms at most")


def through_the_queue(account: Account, device: Device, handlers: Handlers, jobs: int) -> None:
    """From the first handler to the last one."""
    *_, last = account.queue(THING, *(f"Queued-{number}" for number in range(jobs)))
    with Executor(handlers, connection(account.local, device)) as executor:
        executor.wait_for(f"{last}: SUCCEEDED")
    times = started(handlers)[-jobs:]
    print(
        f"{jobs} queued jobs: {(jobs - 1) / (times[-1] - times[0]) * 1e9:.1f} a second   30 at least",
        flush=True,
    )


def started(handlers: Handlers) -> list[int]:
    """When handlers were started, in nanoseconds."""
    return [int(line) for line in handlers.wrote("started")]


if __name__ == "__main__":
    main()
