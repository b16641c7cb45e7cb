"""Arguments → settings; builds the planes; the only place that decides an exit code."""

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from jobs_sandbox import __version__

# What a run needs is imported when a run begins: --help and --version answer at once.
if TYPE_CHECKING:
    from contextlib import ExitStack

    from jobs_sandbox.console import Console
    from jobs_sandbox.session import Session
    from jobs_sandbox.settings import Settings

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
DEFAULT_THING = "SandboxThing"
_THING_NAME = "[a-zA-Z0-9:_-]{1,128}"  # as CreateThing documents it

_USAGE = """\
jobs-sandbox <endpoint> <cert> <key> <region> <thing> [options]
       jobs-sandbox --local [thing] [options]"""
_EPILOG = """\
At the prompt, or a line at a time on standard input: create-job, delete-job,
get-pending-job-executions, start-next-pending-job-execution, describe-job-execution,
update-job-execution, wait, help, quit.

exit status: 0 success; 1 it could not start or, reading from a pipe, a command failed;
2 wrong usage; 130 interrupted (128 + N: ended by signal N)."""


class Terminated(BaseException):
    """A signal asks the program to end, or its output is gone."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.status = 128 + signum


def main() -> NoReturn:
    """The command ``jobs-sandbox``."""
    status = run(sys.argv[1:])
    # All is closed by now. The interpreter's own way out would wait for threads of boto3 that still wait for a
    # network that is gone.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def run(arguments: list[str]) -> int:
    """Run the program to its end; the exit status."""
    options = _parser().parse_args(arguments)
    _check(options)

    from jobs_sandbox.console import Console

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    terminal = sys.stdout.isatty()
    colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    signals = _Signals()
    console = Console(options.output, sys.stdout, sys.stderr, colour=colour, on_closed=signals.end_main)
    status = FAILED
    try:
        status = _run(options, console, signals, interactive=terminal and sys.stdin.isatty())
    except KeyboardInterrupt:
        status = INTERRUPTED
    except Terminated as end:
        status = OK if console.closed else end.status
    finally:
        signals.leaving = True
        console.close()
        signals.restore()
    return status


def _run(options: argparse.Namespace, console: "Console", signals: "_Signals", *, interactive: bool) -> int:
    from contextlib import ExitStack

    from jobs_sandbox.errors import StartError
    from jobs_sandbox.session import Session, run_script

    with ExitStack() as stack:
        stack.callback(setattr, signals, "leaving", True)  # noqa: FBT003 - a second Ctrl-C does not wait for the rest
        try:
            settings = _settings(options, console, stack)
            session = Session(console, settings.thing, settings.timeout)
            _start(settings, session, console, stack)
        except StartError as error:
            console.error(error)
            return FAILED
        if not interactive:
            return OK if run_script(session, console, sys.stdin.buffer) else FAILED
        from jobs_sandbox.repl import run_repl

        run_repl(session, console, settings)
        return OK


def _settings(options: argparse.Namespace, console: "Console", stack: "ExitStack") -> "Settings":
    from jobs_sandbox.settings import Settings, new_client_id

    common = {
        "client_id": options.client_id or new_client_id(),
        "timeout": options.timeout,
    }
    if options.local is None:
        endpoint, cert, key, region, thing = options.arguments
        return Settings(
            endpoint,
            cert,
            key,
            region,
            thing,
            port=options.port or 8883,
            ca_file=options.ca_file,
            profile=options.profile,
            endpoint_url=options.endpoint_url,
            **common,
        )
    from jobs_sandbox.local import local_iot

    local = stack.enter_context(local_iot(options.local))
    console.notice(local.invitation(), **local._asdict())
    return Settings(
        local.endpoint,
        local.cert,
        local.key,
        local.region,
        local.thing,
        port=local.port,
        ca_file=local.ca_file,
        endpoint_url=local.endpoint_url,
        **common,
    )


def _start(settings: "Settings", session: "Session", console: "Console", stack: "ExitStack") -> None:
    """Ensure the thing, connect, open both streams.

    Raises:
        StartError: with the cause.

    """
    from concurrent.futures import Future

    from jobs_sandbox.background import in_background
    from jobs_sandbox.diagnosis import check_files
    from jobs_sandbox.errors import RequestFailed, StartError

    if warning := check_files(settings):
        console.warning(warning)

    def ensure_thing() -> tuple[Any, bool]:
        from jobs_sandbox.control_plane import ControlPlane

        control = ControlPlane(settings)
        return control, control.ensure_thing()

    ensured: Future[tuple[Any, bool]] = Future()
    in_background(ensure_thing, ensured)
    # While that is on the wire, the device SDK loads.
    from jobs_sandbox.data_plane import DataPlane

    try:
        session.control, created = ensured.result(settings.timeout + 2)
    except RequestFailed as error:
        raise StartError(error.what, cause=error.cause, todo=error.todo) from error
    except TimeoutError:
        where = settings.endpoint_url or f"AWS IoT in {settings.region}"
        raise StartError(
            f"the control plane ({where}) did not answer within {settings.timeout} s",
            cause="a slow network, or a wrong region or --endpoint-url",
            todo="try again with a larger --timeout.",
        ) from None
    if created:
        console.notice(f"created the thing {settings.thing}")
    session.data = stack.enter_context(DataPlane(settings, session))
    console.notice(
        f"connected to {settings.endpoint}:{settings.port} as {settings.client_id}; type help for the commands"
    )


class _Signals:
    """SIGTERM and SIGHUP end the program in good order, and so does Ctrl-C; a second Ctrl-C leaves at once."""

    def __init__(self) -> None:
        self.leaving = False
        self._previous = {
            number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }

    def restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def end_main(self) -> None:
        """Wake the main thread, whatever it waits for, and make it end the program."""
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)  # type: ignore[arg-type]

    def _handle(self, number: int, _: object) -> None:
        if number == signal.SIGINT:
            if self.leaving:
                os._exit(INTERRUPTED)
            raise KeyboardInterrupt
        if not self.leaving:
            self.leaving = True
            raise Terminated(number)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"jobs-sandbox: {message}\n  usage: {_USAGE}\n  next: jobs-sandbox --help explains each.\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jobs-sandbox",
        usage=_USAGE,
        description="An interactive sandbox for AWS IoT Jobs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="<endpoint> <cert> <key> <region> <thing>",
        help="the account's MQTT endpoint, the PEM files of the device's certificate and private key, the AWS region, "
        "and the name of the thing (created if it does not exist)",
    )
    add = parser.add_argument
    add(
        "--local",
        nargs="?",
        const=DEFAULT_THING,
        metavar="thing",
        help="run against an embedded local AWS IoT; no account needed",
    )
    add("--client-id", "--client_id", metavar="ID", help="MQTT client id (default: test-<uuid4>)")
    add("--port", type=_whole_number(65535), metavar="N", help="MQTT port (default: 8883)")
    add("--ca-file", metavar="PATH", help="trust store for the MQTT endpoint (default: the system's)")
    add("--profile", metavar="NAME", help="AWS named profile for the control plane (default: boto3's own chain)")
    add("--endpoint-url", metavar="URL", help="control plane endpoint (default: boto3's own rules)")
    add(
        "--timeout",
        type=_whole_number(3600),
        default=5,
        metavar="SECONDS",
        help="how long connecting and each request may take (default: 5)",
    )
    add("--output", choices=("text", "json"), default="text", help="blocks, or one JSON object a line (default: text)")
    parser.add_argument("--version", action="version", version=f"jobs-sandbox {__version__}")
    return parser


def _check(options: argparse.Namespace) -> None:
    """What argparse cannot say: which arguments go together, and what a thing may be called."""
    error = _parser().error
    if options.local is None:
        if len(options.arguments) != 5:  # noqa: PLR2004 - the five of the usage line
            error(f"5 arguments are needed, or --local; {len(options.arguments)} given")
        thing = options.arguments[-1]
    else:
        if options.arguments:
            error(f"--local takes a thing name at most, not {' '.join(options.arguments)!r}")
        for name in ("port", "ca_file", "profile", "endpoint_url"):
            if getattr(options, name) is not None:
                error(f"--local brings its own --{name.replace('_', '-')}")
        thing = options.local
    if not re.fullmatch(_THING_NAME, thing):
        error(f"{thing!r} is no thing name: 1 to 128 letters, digits, :, _ and -")
    if options.client_id is not None and not 1 <= len(options.client_id.encode(errors="replace")) <= 128:  # noqa: PLR2004
        error("a client id has 1 to 128 bytes")


def _whole_number(largest: int) -> Any:
    def number(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= largest:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {largest}")
        return int(text)

    return number
