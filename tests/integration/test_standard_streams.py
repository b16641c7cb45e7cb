"""The standard streams as programs and shells hand them on: odd, gone, full, slow, or in another encoding."""

import array
import fcntl
import json
import os
import resource
import shlex
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import mqtt5
import pytest

from tests.support.account import Account
from tests.support.broker import Broker
from tests.support.program import COMMAND, Program, environment, parse_blocks
from tests.support.terminal import Terminal

pause = threading.Event().wait
SECONDS = 60  # for what certainly ends
UNREADABLE = "the standard input cannot be read (Bad file descriptor): taken as its end"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of this test's own."""
    with Broker(tmp_path) as broker:
        yield broker


class Ended(NamedTuple):
    """How a program ended, and what it said."""

    status: int
    stdout: str
    stderr: str


def run(broker: Broker, *options: str, script: str | None = None, **streams: Any) -> Ended:
    """Run the program to its end, with its standard streams as given."""
    ended = subprocess.run(
        [*COMMAND, *broker.arguments(), *options],
        input=None if script is None else script.encode(),
        env=environment(broker.environment),
        timeout=SECONDS,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams,
    )
    return Ended(ended.returncode, (ended.stdout or b"").decode(), ended.stderr.decode())


# Standard input


def test_write_only_stdin(broker: Broker, tmp_path: Path) -> None:
    """With ``0>file`` there is nothing to read: the end of the input, and said to be."""
    with (tmp_path / "file").open("wb") as file:
        ended = run(broker, stdin=file)
    assert ended.status == 0
    assert UNREADABLE in ended.stderr.splitlines()
    assert "Traceback" not in ended.stderr


def test_nohup(broker: Broker, tmp_path: Path) -> None:
    """``nohup jobs-sandbox`` from a terminal, whose input nohup makes unreadable, ends at once, and says why."""
    program = shlex.join([*COMMAND, *broker.arguments()])
    command = ["sh", "-c", f"cd {shlex.quote(str(tmp_path))} && exec nohup {program}"]
    with Terminal([], broker.environment, command=command) as terminal:
        assert terminal.finish() == 0
    said = (tmp_path / "nohup.out").read_text()
    assert UNREADABLE in said
    assert "Traceback" not in said


def test_a_huge_line(broker: Broker, tmp_path: Path) -> None:
    """A line of 100 MB is one error, soon, and the next line is run."""
    path = tmp_path / "script"
    with path.open("wb") as file:
        file.seek(100_000_000)
        file.write(b"\nhelp")
    with path.open("rb") as file:
        ended = run(broker, stdin=file)
    assert ended.status == 1
    assert [line for line in ended.stderr.splitlines() if "line 1" in line] == [
        "line 1: a line of more than 1,048,576 bytes."
    ]
    assert [title for title, _ in parse_blocks(ended.stdout)] == ["Help"]


def test_non_blocking_stdin(broker: Broker) -> None:
    """Input that comes through a pipe in non-blocking mode, as some parents leave it, is waited for."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    command = [*COMMAND, *broker.arguments(output="json")]
    env = environment(broker.environment)
    with (
        open(reading, "rb") as stdin,
        open(writing, "wb", buffering=0) as script,
        subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, env=env) as program,
    ):
        assert program.stdout
        for _ in range(2):
            script.write(b"get-pending-job-executions\n")
            assert b"GetPendingJobExecutionsResponse" in program.stdout.readline()
            pause(0.3)  # it reads in vain meanwhile
        script.close()
        assert program.wait(SECONDS) == 0


MANY_DESCRIPTORS = """
import os, sys
for _ in range(1100):
    os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture
def _many_allowed() -> Iterator[None]:
    """So many descriptors may be open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], 4096), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_many_allowed")
def test_many_descriptors(broker: Broker) -> None:
    """With 1,100 inherited descriptors a script runs as ever."""
    ended = subprocess.run(
        [sys.executable, "-c", MANY_DESCRIPTORS, *COMMAND, *broker.arguments()],
        input=b"get-pending-job-executions\n",
        capture_output=True,
        env=environment(broker.environment),
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0
    assert [title for title, _ in parse_blocks(ended.stdout.decode())] == [
        "GetPendingJobExecutionsResponse"
    ]


@pytest.mark.usefixtures("_many_allowed")
def test_many_descriptors_at_the_prompt(broker: Broker, tmp_path: Path) -> None:
    """The same at the prompt, with an event above it."""
    env = broker.environment | {"XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", MANY_DESCRIPTORS, *COMMAND]
    with Terminal(broker.arguments(), env, command=command) as terminal:
        terminal.wait_prompt()
        terminal.send("get-pending-job-executions\r")
        terminal.wait_text("GetPendingJobExecutionsResponse")
        terminal.wait_prompt()
        broker.publish("notify", b'{"timestamp": 1}')
        terminal.wait_text("JobExecutionsChangedEvent")
        terminal.send("\x04")
        assert terminal.finish() == 0
        assert "Traceback" not in terminal.text()


# Standard output


def test_non_blocking_stdout(broker: Broker, tmp_path: Path) -> None:
    """Output through a pipe in non-blocking mode, whose reader takes its time, is all there."""
    script = tmp_path / "script"
    script.write_text("help\n" * 200)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    read = bytearray()

    def read_slowly() -> None:
        filled = -1
        while filled != (filled := _held(reading)) or not filled:  # until the pipe is full
            pause(0.3)
        while chunk := os.read(reading, 65536):
            read.extend(chunk)

    reader = threading.Thread(target=read_slowly)
    with script.open("rb") as stdin, open(writing, "wb") as stdout:
        reader.start()
        ended = run(broker, stdin=stdin, stdout=stdout)
    reader.join(SECONDS)
    os.close(reading)
    assert ended.status == 0
    assert [title for title, _ in parse_blocks(read.decode())] == ["Help"] * 200


def _held(descriptor: int) -> int:
    """How many bytes a pipe holds."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


class SlowToSubscribe(Broker):
    """Lets an event come between the two subscriptions of the start, and the second one wait for its consequences."""

    def _handle(self, connection: Any, packet: mqtt5.Packet) -> None:
        if isinstance(packet, mqtt5.SubscribePacket) and self.subscribed:
            self.publish("notify", b'{"timestamp": 1}')
            self.publish("notify-next", b'{"timestamp": 1}')
            return
        super()._handle(connection, packet)


def test_nobody_reads_from_the_start(tmp_path: Path) -> None:
    """When the reader of stdout has gone, and that shows while it still connects, it ends quietly, with status 0."""
    reading, writing = os.pipe()
    os.close(reading)
    with SlowToSubscribe(tmp_path) as broker, open(writing, "wb") as stdout:
        ended = run(broker, "--timeout", "600", script="", stdout=stdout)
        assert broker.subscribed != []
    assert ended.status == 0
    assert ended.stderr == ""


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_json_in_every_encoding(encoding: str, broker: Broker) -> None:
    """With --output json every line is JSON and says what came, whatever the encoding of the streams."""
    text = "é 日本 🎉 \x1b"
    payload = json.dumps({"timestamp": 1, "text": text}, ensure_ascii=False).encode()
    env = broker.environment | {"PYTHONIOENCODING": encoding}
    reading, writing = os.pipe()
    with (
        open(reading, "rb") as stdout,
        open(writing, "wb") as theirs,
        subprocess.Popen(
            [*COMMAND, *broker.arguments(output="json")],
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment(env),
        ) as program,
    ):
        theirs.close()
        assert program.stdin
        assert program.stderr
        broker.wait_for(lambda: len(broker.subscribed) >= 2)
        broker.publish("notify", payload)
        shown = stdout.readline()
        program.stdin.write('frob "日本"\nquit\n'.encode())
        program.stdin.close()
        said = program.stderr.read()
        assert program.wait(SECONDS) == 1
    assert json.loads(shown.decode(encoding))["body"]["text"] == text
    told = [json.loads(line) for line in said.decode(encoding).splitlines()]
    assert told[-1]["command"] == 'frob "日本"'


def test_json_on_a_full_disk(broker: Broker) -> None:
    """That the output cannot be written is JSON, too, with --output json."""
    with open("/dev/full", "wb") as full:
        ended = run(broker, "--output", "json", script="help\n", stdout=full)
    assert ended.status == 1
    assert json.loads(ended.stderr.splitlines()[-1]) == {
        "type": "Error",
        "message": "the output cannot be written: [Errno 28] No space left on device",
    }
    assert all(json.loads(line) for line in ended.stderr.splitlines())


# The order of what is written


def test_answers_before_their_events(account: Account) -> None:
    """The embedded AWS IoT answers an update before it sends its events: so it is shown, 60 times out of 60."""
    device = account.device()
    account.iot.create_thing(thingName=device.thing)
    job_ids = account.queue(device.thing, *map(str, range(60)))
    with Program(account.arguments(device), account.operator(device.thing)).started() as program:
        program.send(*(f"update-job-execution {job_id} FAILED" for job_id in job_ids))
        program.wait_for(
            lambda: program.stdout.count("─── JobExecutionsChangedEvent ─") == 60, SECONDS
        )
        titles = [title for title, _ in program.blocks()]
        with suppress(ValueError):
            while True:
                titles.remove("NextJobExecutionChangedEvent")
        assert program.finish() == 0
    assert titles[: 2 * 60] == ["UpdateJobExecutionResult", "JobExecutionsChangedEvent"] * 60
