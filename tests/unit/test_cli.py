"""The command line: what is accepted, and what is reported of the rest."""

import errno
import io
import os
import subprocess
import sys

import pytest

from jobs_sandbox import __version__, cli
from jobs_sandbox.cli import parse

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


class FullDisk(io.StringIO):
    """A stream on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses with which the process would have ended."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    return exits


def test_defaults() -> None:
    """The five arguments suffice."""
    options = vars(parse(FIVE))
    given = {name: value for name, value in options.items() if value not in (None, False)}
    assert given == {"arguments": FIVE, "timeout": 5, "output": "text"}


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--local"], "local", "SandboxThing"),
        (["--local", "--client-id", "mine", "--policy", "mine.json"], "client_id", "mine"),
        ([*FIVE, "--client_id", "ü" * 64], "client_id", "ü" * 64),
        ([*FIVE[:4], "--timeout", "0.1", "Thing"], "timeout", 0.1),
        (["--local", "--device", "python 'my device.py'"], "device", ["python", "my device.py"]),
        (["--check", "./device -v", "order-of-three"], "device", ["./device", "-v"]),
        (["--check", "./device", "order-of-three"], "arguments", ["order-of-three"]),
        (["--check", "./device"], "timeout", 10),
        (["--check", "--list"], "list", True),
    ],
)
def test_right_usage(arguments: list[str], name: str, value: object) -> None:
    """Options are accepted anywhere, and each has its range."""
    assert getattr(parse(arguments), name) == value


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """``~`` in the paths of files is the user's home."""
    monkeypatch.setenv("HOME", "/h")
    options = parse(["~", "~/cert", "~/key", "region", "T", "--ca-file=~/ca"])
    assert options.arguments[:3] == ["~", "/h/cert", "/h/key"]
    assert (options.ca_file, parse(["--local", "--policy=~/p"]).policy) == ("/h/ca", "/h/p")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "5 arguments are needed, or --local; 0 given"),
        (["--local", "Lamp", "more"], "--local takes a thing name at most, not 'more'"),
        (["--local", "--port", "1"], "--local brings its own --port"),
        (["--local", "--client-id", "mine"], "with --local a client id begins with test-"),
        (["--check"], "--check needs the command of a device, or --list"),
        (["--check", "x", "--port", "1"], "--check brings its own --port"),
        (["--local", "--junit", "x"], "--junit goes with --check"),
        (["", *FIVE[1:]], "an argument is empty: perhaps a shell variable that is not set"),
        (["iot.us-east-1.amazonaws.com", *FIVE[1:]], "is not an MQTT endpoint"),
        (["c1.credentials.iot.us-east-1.amazonaws.com", *FIVE[1:]], "--endpoint-type iot:Data-ATS"),
        (["a1.iot.eu-west-1.amazonaws.com", *FIVE[1:]], "the endpoint is in eu-west-1, but the"),
        ([*FIVE, "--port", "65536"], "'65536' is not a port: 1 to 65535"),
        ([*FIVE, "--timeout", "0.099"], "'0.099' is not a number of seconds from 0.1 to 3600"),
        ([*FIVE, "--client-id", "ü" * 64 + "x"], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--client-id", "test-\r"], "and no control characters"),
        ([*FIVE, "--policy", "mine.json"], "--policy goes with --local"),
        ([*FIVE[:4], "a/b"], "'a/b' is not a thing name"),
        ([*FIVE, "--device", "'' x"], "is not a command: it is empty"),
        (["--local", "--device", "device 'a"], "is not a command: no closing quotation"),
        (["--endpoint_url=http://user:pw@host"], "--endpoint_url=http://…@host"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage has status 2, its reason without secrets, the usage and the next step."""
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    error = capsys.readouterr().err
    assert message in error
    assert "usage: jobs-sandbox <endpoint> <cert> <key> <region> <thing> [options]" in error
    assert "--help" in error
    assert "pw" not in error


@pytest.mark.parametrize("columns", [0, 40])
def test_help(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--help fits the terminal; one without a size counts as one of 80 columns."""
    monkeypatch.setattr(os, "get_terminal_size", lambda: os.terminal_size((columns, columns)))
    with pytest.raises(SystemExit, match="0"):
        parse(["--help"])
    lines = capsys.readouterr().out.splitlines()
    options = [line for line in lines if line.startswith("  --")]
    assert max(map(len, options)) < (columns or 80)
    assert max(map(len, lines)) <= 80


def test_light_start() -> None:
    """--version prints the version, and loads neither an SDK nor the prompt."""
    code = (
        "import sys\n"
        "from jobs_sandbox.cli import parse\n"
        "try: parse(['--version'])\n"
        "except SystemExit: print(*sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"jobs-sandbox {__version__}"
    heavy = {"boto3", "awscrt", "prompt_toolkit", "asyncio", "typing", "jobs_sandbox.app"}
    assert not heavy & set(modules.split())


def test_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the program names what it needs."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="WSL"):
        cli.main()


def test_the_status_of_the_run(monkeypatch: pytest.MonkeyPatch, exits: list[int]) -> None:
    """The status of the run is that of the process; a closed standard stream is an empty one."""
    monkeypatch.setattr(sys, "argv", ["jobs-sandbox", *FIVE])
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    monkeypatch.setattr("jobs_sandbox.app.run", lambda options: len(options.arguments))
    cli.main()
    assert (exits, sys.stdin.read()) == ([5], "")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_interrupted_while_it_loads(monkeypatch: pytest.MonkeyPatch, exits: list[int]) -> None:
    """Ctrl-C while our own modules load has the status of Ctrl-C."""

    def interrupted(_: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parse", interrupted)
    cli.main()
    assert exits == [130]


def test_a_full_disk(
    monkeypatch: pytest.MonkeyPatch, exits: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Help that cannot be written is a failure; wrong usage keeps its status all the same."""
    monkeypatch.setattr(sys, "stdout", FullDisk())
    for stderr, arguments in ((sys.stderr, ["--help"]), (FullDisk(), [])):
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setattr(sys, "argv", ["jobs-sandbox", *arguments])
        cli.main()
    assert exits == [1, 2]
    assert "the output cannot be written: No space left on device" in capsys.readouterr().err


def test_a_reader_that_has_ended() -> None:
    """Help to a reader that has ended is no failure."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "jobs_sandbox", "--help"]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
