"""Holds the device of ``--device`` to the life of the program: runs it in a process group of its own, and ends that.

It is a process between the two, started by `jobs_sandbox.device` as a file, with the standard library alone:
``python -I -S supervisor.py FD COMMAND [ARGUMENT...]``. Each byte of its standard input is a signal for the
device's group; the end of that input, however the program died, is SIGKILL. To FD it writes two numbers of four bytes:
0 or the errno of a start that failed, and what `subprocess.Popen.returncode` would be. It knows nothing else.
"""

import os
import select
import signal
import sys
from contextlib import suppress

NUMBER_SIZE = 4  # bytes
_NOT_FOR_US = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # only the program says when to end


def supervise(report: int, command: list[str]) -> None:
    """Run ``command`` to its end, with the standard output and error of this process."""
    os.set_inheritable(report, False)  # noqa: FBT003 - it takes no keyword
    ended, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in _NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    no_input = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    ignored = [*_NOT_FOR_US, signal.SIGPIPE, signal.SIGXFSZ]  # the last two by Python
    try:
        device = os.posix_spawnp(
            command[0], command, os.environ, file_actions=no_input, setpgroup=0, setsigdef=ignored
        )
    except OSError as error:
        _write(report, error.errno or -1)
        return
    _write(report, 0)
    status = None
    while status is None:
        readable, _, _ = select.select([0, ended], [], [])
        if 0 in readable:
            requested = os.read(0, 1)
            _signal(device, requested[0] if requested else signal.SIGKILL)
            if not requested:
                return
        elif os.read(ended, 1):
            pid, so_far = os.waitpid(device, os.WNOHANG)
            status = so_far if pid else None
    _signal(device, signal.SIGKILL)  # whom it left behind
    _write(report, os.waitstatus_to_exitcode(status))


def _signal(group: int, number: int) -> None:
    with suppress(OSError):  # nobody is left in it
        os.killpg(group, number)


def _write(report: int, number: int) -> None:
    os.write(report, number.to_bytes(NUMBER_SIZE, "big", signed=True))


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the program has gone
        supervise(int(sys.argv[1]), sys.argv[2:])
