"""The command line: arguments → options. Nothing heavy is imported: ``--help`` is quick."""

from __future__ import annotations

import argparse
import os
import re
import sys

from jobs_sandbox import __version__
from jobs_sandbox.core.exit_status import FAILED, INTERRUPTED, OK, USAGE_ERROR
from jobs_sandbox.core.jobs import is_thing_name

TYPE_CHECKING = False  # importing typing would take a tenth of the time of --help
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

SHORTEST, LONGEST = 0.1, 3600  # seconds, for --timeout
DEFAULT_THING = "SandboxThing"
# Seconds. A check must not fail because the machine is busy.
_TIMEOUT, _CHECK_TIMEOUT = 5, 10
_CLIENT_ID_BYTES = 128
_LAST_PORT = 65535
_AWS_ENDPOINT = re.compile(r"\.iot\.([a-z0-9-]+)\.amazonaws\.com")
# Other endpoints of AWS IoT, and other names.
_NOT_MQTT = re.compile(r"^(arn:|https?:|iot\.)|\.(credentials|jobs)\.iot\.")
# Control characters, and bytes that are not UTF-8.
_NOT_IN_CLIENT_ID = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

_USAGE = """\
jobs-sandbox <endpoint> <cert> <key> <region> <thing> [options]
       jobs-sandbox --local [thing] [options]
       jobs-sandbox --check COMMAND [scenario ...] [options]"""
_EPILOG = """\
Commands are typed at the prompt, or come from standard input, one a line;
`help` lists them.

exit status: 0 success; 1 it could not start or, reading from a pipe, a command
failed; 2 wrong usage; 130 interrupted (128 + N: ended by signal N)."""


def main() -> NoReturn:
    """Run the command ``jobs-sandbox``."""
    if sys.platform == "win32":  # it has no termios
        sys.exit("jobs-sandbox needs Linux, macOS or, on Windows, WSL.")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # the parent closed it; no socket may get its number
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    try:
        status = _run(sys.argv[1:])
    except KeyboardInterrupt:  # while our own modules load
        status = INTERRUPTED
    # Everything is closed and written. The interpreter's own end would take 0.3 to 0.5 s more.
    os._exit(status)


def _run(arguments: list[str]) -> int:
    try:
        options = parse(arguments)
    except SystemExit as end:
        return int(end.code or OK)
    except BrokenPipeError:  # the reader of --help has ended
        return OK
    except OSError as error:
        _complain(f"jobs-sandbox: the output cannot be written: {error.strerror}\n")
        return FAILED

    if options.check is not None:
        from jobs_sandbox.check.runner import run
    else:
        from jobs_sandbox.app import run

    return run(options)


def _complain(text: str) -> None:
    """Write to stderr, if that can be written to."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass


def parse(arguments: list[str]) -> argparse.Namespace:
    """Options from a command line; ends the program for --help, --version and wrong usage."""
    parser = _parser()
    options = parser.parse_intermixed_args(arguments)
    _check(options, parser.error)
    # A shell does not expand ~ within quotes.
    options.arguments[1:3] = [os.path.expanduser(path) for path in options.arguments[1:3]]
    return options


class _Parser(argparse.ArgumentParser):
    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse ignores a failure to write, or leaves it to the end of the interpreter.
        if file is sys.stdout:
            file.write(message)
            file.flush()
        else:
            _complain(message)

    def error(self, message: str) -> NoReturn:
        from jobs_sandbox.core.redaction import without_users  # only a mistake needs it

        reason = f"jobs-sandbox: {without_users(message)}"
        next_step = "next: jobs-sandbox --help explains each option."
        self.exit(USAGE_ERROR, f"{reason}\n  usage: {_USAGE}\n  {next_step}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jobs-sandbox",
        usage=_USAGE,
        description="An interactive sandbox for AWS IoT Jobs.",
        epilog=_EPILOG,
        # argparse would import shutil to know the width
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=_columns()),
        allow_abbrev=False,
    )
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="<endpoint> <cert> <key> <region> <thing>",
        help="the account's MQTT endpoint, the PEM files of the device's certificate and private "
        "key, the AWS region, and the name of the thing (created if it does not exist)",
    )
    _add_options(parser.add_argument)
    parser.add_argument("--version", action="version", version=f"jobs-sandbox {__version__}")
    return parser


def _add_options(add: Callable[..., object]) -> None:
    add(
        "--local",
        nargs="?",
        const=DEFAULT_THING,
        metavar="thing",
        help="run against an embedded local AWS IoT; no account needed",
    )
    add("--client-id", "--client_id", metavar="ID", help="MQTT client id (default: test-<uuid4>)")
    add("--port", type=_port, metavar="N", help="MQTT port (default: 8883)")
    add(
        "--ca-file",
        type=os.path.expanduser,
        metavar="PATH",
        help="trust store for the MQTT endpoint (default: the system's)",
    )
    add(
        "--profile",
        metavar="NAME",
        help="AWS named profile for the control plane (default: boto3's own chain)",
    )
    add("--endpoint-url", metavar="URL", help="control plane endpoint (default: boto3's own rules)")
    add(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long connecting and each request may take (default: 5; with --check: 10)",
    )
    add(
        "--policy",
        type=os.path.expanduser,
        metavar="FILE",
        help="with --local: enforce this device policy instead of the shipped one; with --device "
        "or --check, on the device alone",
    )
    add(
        "--device",
        type=_command,
        metavar="COMMAND",
        help="start COMMAND as the device, with the connection in its environment (IOT_...)",
    )
    add(
        "--check",
        nargs="?",
        const=[],
        type=_command,
        metavar="COMMAND",
        help="judge COMMAND, a device, by the scenarios that are named, or by all but the slow "
        "ones; a name that ends with .jobs is a file",
    )
    add("--all", action="store_true", help="with --check: the slow scenarios, too")
    add("--list", action="store_true", help="with --check: list the scenarios, and run none")
    add("--junit", metavar="FILE", help="with --check: write the results to FILE as JUnit XML")
    add("--log", metavar="DIR", help="with --check: write a transcript of each scenario to DIR")
    add(
        "--output",
        choices=("text", "json"),
        default="text",
        help="blocks, or one JSON object a line (default: text)",
    )


def _columns() -> int:
    """The width of --help."""
    try:
        return (os.get_terminal_size().columns or 80) - 2  # some terminals have no size
    except OSError:
        return 78


def _check(options: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    """Check what argparse cannot: combinations, and the names of things and clients."""
    if options.check is None:
        for name in ("all", "list", "junit", "log"):
            if getattr(options, name):
                error(f"--{name} goes with --check")
    if options.check is not None:
        _check_check(options, error)
        thing = DEFAULT_THING
    elif options.local is None:
        _check_account(options, error)
        thing = options.arguments[-1]
    else:
        _check_local(options, error)
        thing = options.local
    if not is_thing_name(thing):
        error(f"{thing!r} is not a thing name: 1 to 128 letters, digits, :, _ and -")
    if options.timeout is None:
        options.timeout = _TIMEOUT if options.check is None else _CHECK_TIMEOUT
    client_id = options.client_id
    if client_id is not None and (
        _NOT_IN_CLIENT_ID.search(client_id) or not 1 <= len(client_id.encode()) <= _CLIENT_ID_BYTES
    ):
        error("a client id has 1 to 128 bytes of UTF-8, and no control characters")


def _check_account(options: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    if len(options.arguments) != 5:  # noqa: PLR2004 - the five of the usage line
        error(f"5 arguments are needed, or --local; {len(options.arguments)} given")
    if "" in options.arguments[:4]:
        error("an argument is empty: perhaps a shell variable that is not set")
    endpoint, _, _, region, _ = options.arguments
    if _NOT_MQTT.search(endpoint):
        error(
            f"{endpoint!r} is not an MQTT endpoint: `aws iot describe-endpoint --endpoint-type "
            "iot:Data-ATS` prints it"
        )
    located = _AWS_ENDPOINT.search(endpoint)
    if located and located[1] != region:
        error(
            f"the endpoint is in {located[1]}, but the region is {region!r}: name the same for both"
        )
    if options.policy is not None:
        error("--policy goes with --local: on AWS, attach the policy to the certificate")


def _check_local(options: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    if options.arguments:
        error(f"--local takes a thing name at most, not {' '.join(options.arguments)!r}")
    for name in ("port", "ca_file", "profile", "endpoint_url"):
        if getattr(options, name) is not None:
            error(f"--local brings its own --{name.replace('_', '-')}")
    client_id = options.client_id or "test-"
    shipped = options.policy is None or options.device
    if shipped and not client_id.startswith("test-"):
        error(
            "with --local a client id begins with test-: the shipped policy allows no other; "
            "name your own with --policy, without --device"
        )


def _check_check(options: argparse.Namespace, error: Callable[[str], NoReturn]) -> None:
    """Check the options of ``--check``, and complete them by those of a session with a device."""
    brought = ("local", "device", "client_id", "port", "ca_file", "profile", "endpoint_url")
    for name in brought:
        if getattr(options, name) is not None:
            error(f"--check brings its own --{name.replace('_', '-')}")
    if not options.check and not options.list:
        error("--check needs the command of a device, or --list")
    options.local = DEFAULT_THING
    options.device = options.check


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= _LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to {_LAST_PORT}")
    return int(text)


def _command(text: str) -> list[str]:
    """A command line, split as a shell would."""
    import shlex  # takes a while to load

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a command: {str(error).lower()}"
        ) from error
    if not words or not words[0]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a command: it is empty")
    return words


def _seconds(text: str) -> float:
    if (
        not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text)
        or not SHORTEST <= float(text) <= LONGEST
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from {SHORTEST} to {LONGEST}"
        )
    return float(text)
