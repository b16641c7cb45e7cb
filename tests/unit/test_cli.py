"""The command line: what is accepted, and what is said of the rest."""

import errno
import io
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from jobs_sandbox import __version__, cli
from jobs_sandbox.cli import parse
from jobs_sandbox.commands.command import COMMANDS

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


def test_the_five_arguments_and_their_defaults() -> None:
    """The five arguments suffice; every option has the documented default."""
    options = parse(FIVE)
    assert options.arguments == FIVE
    assert (options.local, options.client_id, options.port, options.ca_file) == (
        None,
        None,
        None,
        None,
    )
    assert (options.profile, options.endpoint_url, options.timeout, options.output) == (
        None,
        None,
        5,
        "text",
    )
    assert (options.policy, options.device) == (None, None)


def test_local_needs_no_argument() -> None:
    """``--local`` alone means SandboxThing, and takes another name."""
    assert parse(["--local"]).local == "SandboxThing"
    assert parse(["--local", "Lamp"]).local == "Lamp"
    assert parse(["--local", "--timeout", "3"]).local == "SandboxThing"


@pytest.mark.parametrize("seconds", ["0.1", "2.5", "3600", "3600.000"])
def test_timeouts(seconds: str) -> None:
    """A timeout is a number of seconds, not only a whole one, and both ends of its range belong to it."""
    assert parse([*FIVE, "--timeout", seconds]).timeout == float(seconds)


@pytest.mark.parametrize("client_id", ["x", "x" * 128, "ü" * 64, "räume/ 1~"])
def test_client_ids(client_id: str) -> None:
    """A client id has 1 to 128 bytes, both included, of any text."""
    assert parse([*FIVE, "--client-id", client_id]).client_id == client_id


def test_client_ids_with_local() -> None:
    """With --local the shipped policy limits the client id; a policy of one's own may allow any."""
    assert parse(["--local", "--client-id", "test-mine"]).client_id == "test-mine"
    options = parse(["--local", "--client-id", "mine", "--policy", "mine.json"])
    assert (options.client_id, options.policy) == ("mine", "mine.json")


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("./device", ["./device"]),
        ("python -u 'my device.py' --fast", ["python", "-u", "my device.py", "--fast"]),
    ],
)
def test_the_command_of_the_device(text: str, command: list[str]) -> None:
    """The device's command is split as a shell would split it."""
    assert parse(["--local", "--device", text]).device == command


def test_options_may_stand_anywhere() -> None:
    """An option between the five arguments changes nothing."""
    options = parse([*FIVE[:4], "--profile", "x", FIVE[4]])
    assert (options.arguments, options.profile) == (FIVE, "x")


@pytest.mark.parametrize("spelling", ["--client-id", "--client_id"])
def test_both_spellings_of_the_client_id(spelling: str) -> None:
    """The spec's spelling of the option works as well as the usual one."""
    assert parse([*FIVE, spelling, "test-mine"]).client_id == "test-mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "5 arguments are needed, or --local; 0 given"),
        (FIVE[:4], "4 given"),
        ([*FIVE, "more"], "6 given"),
        (["--local", "Lamp", "more"], "--local takes a thing name at most, not 'more'"),
        (["--local", "--port", "1"], "--local brings its own --port"),
        (["--local", "--ca-file", "x"], "--local brings its own --ca-file"),
        (["--local", "--profile", "x"], "--local brings its own --profile"),
        (["--local", "--endpoint-url", "x"], "--local brings its own --endpoint-url"),
        ([*FIVE[:4], "no thing"], "'no thing' is not a thing name"),
        (["", *FIVE[1:]], "an argument is empty: perhaps a shell variable that is not set"),
        ([*FIVE[:4], ""], "'' is not a thing name"),
        ([*FIVE[:4], "x" * 129], "is not a thing name"),
        ([*FIVE[:4], "Thing\n"], "is not a thing name"),
        (["--local", "--client-id", "mine"], "with --local a client id begins with test-"),
        (["--local", "a/b"], "'a/b' is not a thing name"),
        ([*FIVE, "--port", "0"], "'0' is not a whole number from 1 to 65535"),
        ([*FIVE, "--port", "65536"], "from 1 to 65535"),
        ([*FIVE, "--timeout", "0"], "'0' is not a number of seconds from 0.1 to 3600"),
        ([*FIVE, "--timeout", "0.099"], "from 0.1 to 3600"),
        ([*FIVE, "--timeout", "3600.001"], "from 0.1 to 3600"),
        ([*FIVE, "--timeout", "-1"], "from 0.1 to 3600"),
        ([*FIVE, "--timeout", "nan"], "from 0.1 to 3600"),
        ([*FIVE, "--output", "xml"], "invalid choice: 'xml'"),
        ([*FIVE, "--client-id", ""], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--client-id", "x" * 129], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--client-id", "ü" * 64 + "x"], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--client-id", "test-\r"], "and no control characters"),
        ([*FIVE, "--client-id", "\x00test"], "and no control characters"),
        ([*FIVE, "--client-id", "te\x1fst"], "and no control characters"),
        ([*FIVE, "--client-id", "te\x7fst"], "and no control characters"),
        ([*FIVE, "--client-id", "te\x9fst"], "and no control characters"),
        ([*FIVE, "--client-id", "test\udcff"], "bytes of UTF-8"),
        ([*FIVE, "--policy", "mine.json"], "--policy goes with --local"),
        ([*FIVE, "--device", ""], "'' is not a command: it is empty"),
        (["--local", "--device", "'' x"], "is not a command: it is empty"),
        (["--local", "--device", "device 'a"], "is not a command: no closing quotation"),
        ([*FIVE, "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each wrong command line ends with status 2, its reason, the usage and the next step."""
    with pytest.raises(SystemExit) as end:
        parse(arguments)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert "jobs-sandbox <endpoint> <cert> <key> <region> <thing> [options]" in said
    assert "--help" in said


@pytest.mark.parametrize("columns", [40, None])
def test_help_explains_every_option(
    columns: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--help names every option and the exit statuses, at any width."""

    def terminal_size() -> SimpleNamespace:
        if columns is None:
            raise OSError
        return SimpleNamespace(columns=columns)

    monkeypatch.setattr(os, "get_terminal_size", terminal_size)
    with pytest.raises(SystemExit) as end:
        parse(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for option in (
        "--local",
        "--client_id",
        "--port",
        "--ca-file",
        "--profile",
        "--endpoint-url",
        "--timeout",
    ):
        assert option in said
    for option in ("--policy", "--device", "--output", "--version"):
        assert option in said
    assert "130 interrupted" in said


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names the commands of the table, all of them, in its order, though it must not load the table."""
    with pytest.raises(SystemExit):
        parse(["--help"])
    named = capsys.readouterr().out.split("on standard input:")[1].split(".")[0]
    assert [name.strip() for name in named.split(",")] == list(COMMANDS)


@pytest.mark.parametrize(
    ("url", "shown"), [("http://user:pw@host", "http://…@host"), ("user:pw@host", "…@host")]
)
def test_wrong_usage_shows_no_user_part(
    url: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped option is quoted without the user part of its URL, be that whole or not."""
    with pytest.raises(SystemExit):
        parse([f"--endpoint_url={url}"])
    said = capsys.readouterr().err
    assert f"--endpoint_url={shown}" in said
    assert "pw" not in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    with pytest.raises(SystemExit):
        parse(["--version"])
    assert capsys.readouterr().out == f"jobs-sandbox {__version__}\n"


def test_main_ends_with_the_status_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status of the run is the process's, and no exit handler or thread can delay it."""
    ended: list[int] = []
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox", *FIVE])
    monkeypatch.setattr("jobs_sandbox.app.run", lambda options: len(options.arguments))
    monkeypatch.setattr(os, "_exit", ended.append)
    cli.main()
    assert ended == [5]


def test_interrupted_while_it_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before the run begins has the status of Ctrl-C, and no traceback."""

    def interrupted(_: list[str]) -> None:
        raise KeyboardInterrupt

    ended: list[int] = []
    monkeypatch.setattr(cli, "parse", interrupted)
    monkeypatch.setattr(os, "_exit", ended.append)
    cli.main()
    assert ended == [130]


def test_wrong_usage_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage has its status even when stderr cannot be written to."""
    ended: list[int] = []
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox"])
    monkeypatch.setattr(os, "_exit", ended.append)
    cli.main()
    assert "5 arguments are needed" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stderr", FullDisk())
    cli.main()
    assert ended == [2, 2]


def test_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the program says in one line what it needs, before it loads what is not there."""
    code = (
        "import sys\n"
        "sys.platform = 'win32'\n"
        "for name in ('termios', 'pty', 'fcntl'): sys.modules[name] = None\n"
        "from jobs_sandbox.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "needs Linux, macOS or, on Windows, WSL" in done.stderr
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="WSL"):
        cli.main()


def test_streams_that_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is started without standard streams gets empty ones."""
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox", *FIVE])
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr("jobs_sandbox.app.run", lambda _: len(sys.stdin.read()))
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    cli.main()
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    assert ended == [0]


def test_help_loads_nothing_heavy() -> None:
    """--help and --version load neither an SDK nor the prompt, nor the modules that only a run needs."""
    code = (
        "import sys\n"
        "from jobs_sandbox.cli import parse\n"
        "try: parse(['--help'])\n"
        "except SystemExit: pass\n"
        "print('LOADED', *sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    modules = set(loaded.split("LOADED")[1].split())
    assert not modules & {
        "boto3",
        "awscrt",
        "prompt_toolkit",
        "ministack",
        "ssl",
        "dataclasses",
        "jobs_sandbox.commands.command",
    }


@pytest.mark.parametrize("argument", ["--help", "--version"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written(argument: str, unbuffered: str) -> None:
    """--help and --version that cannot be written are a failure, told in one line, with or without a buffer."""
    with open(os.devnull) as for_reading_only:
        env = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = run_module(argument, stdout=for_reading_only, env=env)
    assert done.returncode == 1
    assert done.stderr == "jobs-sandbox: the output cannot be written: Bad file descriptor\n"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--help into a full disk fails with the system's own words; if they cannot be told either, by its status."""
    ended: list[int] = []
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox", "--help"])
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(sys, "stdout", FullDisk())
    cli.main()
    assert (
        capsys.readouterr().err
        == "jobs-sandbox: the output cannot be written: No space left on device\n"
    )
    monkeypatch.setattr(sys, "stderr", FullDisk())
    cli.main()
    assert ended == [1, 1]


def test_a_reader_that_has_had_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """--help to a reader that has gone is no failure, and nothing is said of it."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = run_module("--help", stdout=theirs)
    assert (done.returncode, done.stderr) == (0, "")
    ended: list[int] = []
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox", "--version"])
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(sys, "stdout", open(theirs, "w", buffering=1))  # noqa: SIM115 - it cannot be closed
    cli.main()
    with pytest.raises(BrokenPipeError):
        sys.stdout.close()
    assert ended == [0]


class FullDisk(io.StringIO):
    """A stream with no room behind it."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_module(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "jobs_sandbox", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)
