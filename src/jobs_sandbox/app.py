"""One run of the program: start, run, leave. The only place that decides its exit status."""

import argparse
import math
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from jobs_sandbox.console import Console
from jobs_sandbox.errors import RequestFailed, StartError
from jobs_sandbox.formatting import ESCAPE_UNENCODABLE
from jobs_sandbox.session import Session, run_script
from jobs_sandbox.settings import Settings, new_client_id
from jobs_sandbox.threads import in_background, start_thread

OK, FAILED, INTERRUPTED = 0, 1, 130
GRACE = 2.0  # seconds, for a control plane that answers late, but itself says why
_TIMEOUT = 2.0  # seconds, to write what is left when the program is told to end


class Terminated(SystemExit):
    """A signal asks the program to end, or its output is gone.

    A `SystemExit`, because asyncio, under the prompt, lets no other exception of a signal handler through.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.status = 128 + signum


def run(options: argparse.Namespace) -> int:
    """Run the program to its end; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=ESCAPE_UNENCODABLE)  # type: ignore[union-attr]
        with suppress(OSError, ValueError):
            os.set_blocking(stream.fileno(), True)  # some parents leave a pipe that would refuse instead of wait
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    signals = _Signals()
    console = Console(options.output, sys.stdout, sys.stderr, colour=colour, on_closed=signals.end_main)
    status = FAILED
    try:
        status = _run(options, console, signals, interactive=sys.stdout.isatty() and sys.stdin.isatty())
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Terminated as end:
        status = end.status
    finally:
        signals.leaving = True
        console.close(_TIMEOUT if status > FAILED else math.inf)
        signals.restore()
    if console.failure:
        with suppress(OSError, ValueError):
            sys.stderr.write(f"the output cannot be written: {console.failure}\n")
            sys.stderr.flush()
        return FAILED
    return status


def _run(options: argparse.Namespace, console: Console, signals: "_Signals", *, interactive: bool) -> int:
    with ExitStack() as stack:
        try:
            settings = _settings(options, console, stack)
            session = Session(console, settings.thing, settings.timeout)
            _start(settings, session, console, stack)
            if not interactive:
                with _until_closed(console):
                    run_script(session, console, signals.lines(sys.stdin.fileno()))
                return FAILED if session.failed else OK
            from jobs_sandbox.repl import run_repl

            run_repl(session, console, settings)
            return OK
        except StartError as error:
            console.error(error)
            return FAILED
        finally:
            signals.leaving = True  # from here on, another signal does not wait for what is left to close


def _settings(options: argparse.Namespace, console: Console, stack: ExitStack) -> Settings:
    client_id = options.client_id or new_client_id()
    if options.local is None:
        endpoint, cert, key, region, thing = options.arguments
        return Settings(
            endpoint,
            cert,
            key,
            region,
            thing,
            client_id,
            port=options.port or 8883,
            ca_file=options.ca_file,
            profile=options.profile,
            endpoint_url=options.endpoint_url,
            timeout=options.timeout,
        )
    from jobs_sandbox.local.embedded import local_iot
    from jobs_sandbox.local.policies import read_policy

    policy = None if options.policy is None else read_policy(options.policy)
    local = stack.enter_context(local_iot(options.local, policy=policy))
    stack.callback(os.environ.update, dict(os.environ))
    stack.callback(os.environ.clear)
    local.apply_to(os.environ)
    _watch(local, stack, console)
    console.notice(local.join_instructions(), **local.as_json())
    for warning in local.warnings:
        console.warning(warning)
    return Settings(
        local.endpoint,
        local.cert,
        local.key,
        local.region,
        local.thing,
        client_id,
        port=local.port,
        ca_file=local.ca_file,
        endpoint_url=local.endpoint_url,
        timeout=options.timeout,
    )


def _watch(local: Any, stack: ExitStack, console: Console) -> None:
    """Warn when the embedded AWS IoT ends before it is stopped."""
    stopping = threading.Event()
    stack.callback(stopping.set)

    def wait() -> None:
        how = local.wait_ended()
        if not stopping.is_set():
            console.warning(f"the local AWS IoT has ended ({how}): quit, and start again; what was in it is lost.")

    start_thread(wait, "watch")


def _start(settings: Settings, session: Session, console: Console, stack: ExitStack) -> None:
    """Ensure the thing, connect, open both streams.

    Raises:
        StartError: with the cause.

    """
    from jobs_sandbox.data_plane.diagnosis import check_files

    if warning := check_files(settings):
        console.warning(warning)

    def ensure_thing() -> tuple[Any, bool]:
        from jobs_sandbox.control_plane.client import ControlPlane

        control = ControlPlane(settings)
        return control, control.ensure_thing()

    ensured: Future[tuple[Any, bool]] = Future()
    in_background(ensure_thing, ensured)
    # While that is on the wire, the device SDK loads.
    from jobs_sandbox.data_plane.client import DataPlane

    try:
        session.control, created = ensured.result(settings.timeout + GRACE)
    except RequestFailed as error:
        raise StartError(error.message, cause=error.cause, next_step=error.next_step) from error
    except TimeoutError:
        raise StartError(
            f"the control plane ({settings.control_plane}) did not answer within {settings.timeout + GRACE:g} s",
            cause="a slow network, a wrong region or --endpoint-url, or a proxy",
            next_step="try again with a larger --timeout.",
        ) from None
    if created:
        console.notice(f"created the thing {settings.thing}")
    session.data = stack.enter_context(DataPlane(settings, session))
    console.notice(f"connected to {settings.endpoint}:{settings.port} as {settings.client_id}; type help")


@contextmanager
def _until_closed(console: Console) -> Iterator[None]:
    """When nobody reads the output any more, the script ends as if it ended there."""
    try:
        yield
    except Terminated:
        if not console.closed:
            raise


class _Signals:
    """SIGTERM and SIGHUP end the program in good order, and so may Ctrl-C; a second signal ends it at once."""

    def __init__(self) -> None:
        self.leaving = False
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._previous_waker = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._terminal = None
        with suppress(OSError, ValueError, AttributeError, termios.error):
            self._terminal = termios.tcgetattr(sys.stdin.fileno())
        self._previous = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN  # nohup, or in the background
        }

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

        signal.set_wakeup_fd(self._previous_waker)
        os.close(self._wake)
        os.close(self._waker)

    def lines(self, source: int) -> Iterator[bytes]:
        """The lines of a file; unlike with a plain read, a signal in the instant before it begins is not lost."""
        begun = b""
        while True:
            select.select([source, self._wake], [], [])  # after a signal, its handler raises here
            chunk = os.read(source, 65536)
            *lines, begun = (begun + chunk).split(b"\n")
            yield from lines
            if not chunk:
                yield begun
                return

    def end_main(self) -> None:
        """Wake the main thread, whatever it waits for, and make it end the program."""
        if not self.leaving:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)  # type: ignore[arg-type]

    def _handle(self, number: int, _: object) -> None:
        if self.leaving:
            if self._terminal:
                with suppress(termios.error):
                    termios.tcsetattr(sys.stdin.fileno(), termios.TCSANOW, self._terminal)
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        self.leaving = True
        raise Terminated(number)
