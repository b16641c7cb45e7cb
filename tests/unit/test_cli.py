"""The command line: what is accepted, and what is said of the rest."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from jobs_sandbox import __version__, cli
from jobs_sandbox.cli import parse

FIVE = ["host", "cert.pem", "key.pem", "us-east-1", "Thing"]


def test_the_five_arguments_and_their_defaults() -> None:
    """The five arguments suffice; every option has the documented default."""
    options = parse(FIVE)
    assert options.arguments == FIVE
    assert (options.local, options.client_id, options.port, options.ca_file) == (None, None, None, None)
    assert (options.profile, options.endpoint_url, options.timeout, options.output) == (None, None, 5, "text")


def test_local_needs_no_argument() -> None:
    """``--local`` alone means SandboxThing, and takes another name."""
    assert parse(["--local"]).local == "SandboxThing"
    assert parse(["--local", "Lamp"]).local == "Lamp"
    assert parse(["--local", "--timeout", "3"]).local == "SandboxThing"


def test_timeouts_may_have_decimals() -> None:
    """A timeout is a number of seconds, not only a whole one."""
    assert parse([*FIVE, "--timeout", "2.5"]).timeout == 2.5


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
        ([*FIVE, "--timeout", "3601"], "from 0.1 to 3600"),
        ([*FIVE, "--timeout", "-1"], "from 0.1 to 3600"),
        ([*FIVE, "--timeout", "nan"], "from 0.1 to 3600"),
        ([*FIVE, "--output", "xml"], "invalid choice: 'xml'"),
        ([*FIVE, "--client-id", ""], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--client-id", "ü" * 65], "a client id has 1 to 128 bytes"),
        ([*FIVE, "--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
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
    for option in ("--local", "--client_id", "--port", "--ca-file", "--profile", "--endpoint-url", "--timeout"):
        assert option in said
    assert "130 interrupted" in said


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
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(loaded.split("LOADED")[1].split())
    assert not modules & {
        "boto3",
        "awscrt",
        "prompt_toolkit",
        "ministack",
        "ssl",
        "dataclasses",
        "jobs_sandbox.commands",
    }
