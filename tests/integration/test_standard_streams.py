"""The standard streams as programs and shells hand them on."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.blocks import parse_blocks
from tests.support.drivers.program import COMMAND, environment
from tests.support.drivers.terminal import Terminal
from tests.support.servers.broker import Broker

SECONDS = 60  # for what certainly ends


def shell(broker: Broker, command: str, **options: Any) -> Terminal:
    """A terminal that runs a shell command; ``$PROGRAM`` is the program with its arguments."""
    program = shlex.join([*COMMAND, *broker.arguments()])
    return Terminal(
        ["-c", command.replace("$PROGRAM", program)], broker.environment, command=["sh"], **options
    )


def test_nohup(broker: Broker, tmp_path: Path) -> None:
    """``nohup jobs-sandbox`` from a terminal has no commands to run: it fails, and says why."""
    with shell(broker, f"cd {shlex.quote(str(tmp_path))} && exec nohup $PROGRAM") as terminal:
        assert terminal.finish() == 1
    output = (tmp_path / "nohup.out").read_text()
    assert "standard input cannot be read: Bad file descriptor" in output
    assert "Traceback" not in output


def test_tee(broker: Broker, tmp_path: Path) -> None:
    """``| tee`` runs typed lines, after one notice that there is no prompt."""
    with shell(broker, f"$PROGRAM | tee {shlex.quote(str(tmp_path / 'log'))}") as terminal:
        terminal.wait_text("no prompt: standard output is not a terminal")
        terminal.send("help quit\n")
        terminal.wait_text("example: quit")
        terminal.send("\x04")
        assert terminal.finish() == 0
        assert terminal.text().count("no prompt") == 1
    assert [title for title, _ in parse_blocks((tmp_path / "log").read_text())] == ["Help"]


def test_head(broker: Broker) -> None:
    """``| head -1`` ends the program quietly, though its input goes on."""
    with subprocess.Popen(
        [*COMMAND, *broker.arguments()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(broker.environment),
    ) as program:
        assert program.stdin
        assert program.stdout
        assert program.stderr
        program.stdin.write(b"help\nhelp\n")
        program.stdin.flush()
        assert program.stdout.readline().startswith("─── Help".encode())
        program.stdout.close()
        broker.publish("notify", b'{"timestamp": 1}')
        assert program.wait(SECONDS) == 0
        assert b"rror" not in program.stderr.read()


def test_a_full_disk(broker: Broker) -> None:
    """Output that cannot be written is reported on stderr, and is a failure."""
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            [*COMMAND, *broker.arguments(output="json")],
            input=b"help\n",
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(broker.environment),
            timeout=SECONDS,
            check=False,
        )
    assert ended.returncode == 1
    reported = [json.loads(line) for line in ended.stderr.splitlines()]
    assert "No space left on device" in reported[-1]["message"]


def test_the_command_and_the_module(tmp_path: Path) -> None:
    """The command and ``python -m`` are the same program, which imports no modules nearby."""
    for name in ("queue", "ministack", "random"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported by accident')")
    script = str(Path(sys.executable).with_name("jobs-sandbox"))
    version = subprocess.check_output([*COMMAND, "--version"])
    assert subprocess.check_output([script, "--version"]) == version
    ended = subprocess.run(
        [script, "--local"],
        cwd=tmp_path,
        env=environment(),
        input=b"help\n",
        timeout=SECONDS,
        check=False,
        stdout=subprocess.PIPE,
    )
    assert (ended.returncode, ended.stdout[:13]) == (0, "─── Help".encode()[:13])
