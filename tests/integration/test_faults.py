"""The connection fails in many ways; the program reports it truly, and loses nothing."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import mqtt5
import pytest

from jobs_sandbox.core.blocks import CHANGED, GET_PENDING, NEXT_CHANGED
from jobs_sandbox.ui.console import EVENT_LIMIT
from tests.support.aws.account import Account
from tests.support.drivers.program import COMMAND, Program, environment
from tests.support.drivers.terminal import Terminal
from tests.support.servers.broker import Broker, Request, accept, never
from tests.support.servers.proxy import Proxy
from tests.support.waiting import PATIENCE, until

LOST, AGAIN = "connection lost: ", "reconnected after "
Start = Callable[..., Program]


@pytest.fixture
def start(broker: Broker) -> Iterator[Start]:
    """Starts the program."""
    with ExitStack() as stack:

        def start(**options: str) -> Program:
            program = Program(broker.arguments(**options), broker.environment)
            return stack.enter_context(program).started()

        yield start


def event(number: int) -> bytes:
    return b'{"timestamp": %d}' % number


def assert_streams_alive(broker: Broker, program: Program, number: int) -> None:
    """One event on each topic is shown, once."""
    broker.publish("notify", event(number))
    broker.publish("notify-next", event(number))
    body = {"timestamp": number}
    assert program.take(CHANGED, NEXT_CHANGED) == {CHANGED: body, NEXT_CHANGED: body}


def caught_up(broker: Broker, times: int) -> None:
    """Wait until the program has asked so many times for what is pending."""
    until(lambda: [request.name for request in broker.requests].count("get") == times)


# The connection


def test_an_endpoint_that_goes_away(broker: Broker, start: Start) -> None:
    """Each change is one line with its cause; a request fails meanwhile; both streams return."""
    program = start(timeout="3")
    broker.refuse()
    program.wait_stderr("cannot reconnect yet: ")
    program.send("update-job-execution Job1 FAILED")
    program.wait_stderr("it may have been carried out: `expect Job1 FAILED 1`")
    broker.listen()
    program.wait_stderr(AGAIN)
    program.take(GET_PENDING)
    assert_streams_alive(broker, program, 5)
    program.ask("describe-job-execution Job1", "DescribeJobExecutionResponse")
    assert program.finish() == 1
    assert re.fullmatch(
        r"connected to .*\n"
        r"connection lost: AWS_IO_SOCKET_CLOSED: .*\n"
        r"cannot reconnect yet: AWS_IO_SOCKET_CONNECTION_REFUSED: .*\n"
        r"line 1: no answer within 3 s\n  likely cause: the connection is down .*REFUSED: .*\n"
        r"  next: .*it may have been carried out: .*\n"
        r"reconnected after \d+\.\d s\n",
        program.stderr,
    )


def test_another_client_takes_over(account: Account) -> None:
    """The reason is reported, and the program connects again."""
    device = account.device()
    arguments = account.arguments(device, client_id=f"test-{device.thing}")
    with Program(arguments, account.operator(device.thing)).started() as program:
        account.local.fault("take-over", f"test-{device.thing}")
        program.wait_stderr(AGAIN)
        taken_over = "SESSION_TAKEN_OVER (142): another client connected with the same client id"
        assert LOST + taken_over in program.stderr


def test_at_the_prompt(broker: Broker, tmp_path: Path) -> None:
    """Messages appear above the typed line, the toolbar has the state, and Ctrl-D leaves."""
    env = broker.environment | {"XDG_STATE_HOME": str(tmp_path)}
    with Terminal(broker.arguments(), env) as terminal:
        terminal.wait_prompt()
        terminal.send("describe-job-execution J")
        terminal.wait_prompt("describe-job-execution J")
        broker.refuse()
        terminal.wait_text(LOST)
        terminal.wait_text("reconnecting for ")
        terminal.wait_prompt("describe-job-execution J")
        broker.listen()
        terminal.wait_text(AGAIN)
        terminal.wait_prompt("describe-job-execution J")
        broker.refuse()
        terminal.send("\x03")
        terminal.wait_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0


# Subscriptions and sessions


def test_a_stream_that_is_refused(broker: Broker, start: Start) -> None:
    """The missing permission is reported, the other stream lives, and the first may come back."""
    program = start()
    broker.suback["notify"] = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
    broker.drop()
    program.wait_stderr("iot:Subscribe on topicfilter/$aws/things/Thing/jobs/notify; its events")
    program.take(GET_PENDING)
    broker.publish("notify", event(1))
    broker.publish("notify-next", event(2))
    assert program.take(NEXT_CHANGED) == {NEXT_CHANGED: {"timestamp": 2}}
    broker.suback.clear()
    broker.drop()
    program.take(GET_PENDING)
    assert_streams_alive(broker, program, 3)


def test_a_session_that_is_kept(broker: Broker, start: Start) -> None:
    """The stored events are shown after the reconnect, once; nothing is asked for."""
    broker.keep_sessions = True
    program = start()
    broker.refuse()
    program.wait_stderr(LOST)
    broker.publish("notify", event(1))
    broker.publish("notify-next", event(2))
    broker.listen()
    assert program.take(CHANGED, NEXT_CHANGED)[NEXT_CHANGED] == {"timestamp": 2}
    assert broker.subscribed == ["notify", "notify-next"]
    assert_streams_alive(broker, program, 3)
    assert broker.requests == []


def test_a_session_that_is_forgotten(account: Account) -> None:
    """What is pending is asked for and shown after the reconnect, with the reason."""
    device = account.device()
    client_id = f"test-{device.thing}"
    arguments = account.arguments(device, client_id=client_id)
    with Program(arguments, account.operator(device.thing)).started() as program:
        account.local.fault("refuse", client_id, detail="close", seconds=PATIENCE)
        account.local.fault("disconnect", client_id)
        program.wait_stderr(LOST)
        job_id = account.create_job(device.thing)
        account.local.fault("forget-session", client_id)
        account.local.fault("none", client_id)
        program.wait_stderr(AGAIN)
        [(title, body)] = program.wait_for(program.blocks)
        assert title == GET_PENDING
        note, _, pending = body.partition("\n")
        assert note == "(pending now; events may have been lost meanwhile)"
        assert [job["jobId"] for job in json.loads(pending)["queuedJobs"]] == [job_id]


# Requests


def test_a_lost_answer(broker: Broker, start: Start) -> None:
    """The outcome is unknown, and the message says how to find out; a late answer is not shown."""
    broker.answer = never
    program = start(timeout="2")
    program.send("update-job-execution Job1 SUCCEEDED")
    program.wait_stderr("line 1: no answer within 2 s")
    program.wait_stderr("it may have been carried out: `expect Job1 SUCCEEDED 1`")
    assert "iot:Receive on topic/$aws/things/Thing/jobs/*/update/*" in program.stderr
    broker.requests[0].accept()
    broker.answer = accept
    program.ask("get-pending-job-executions", GET_PENDING)
    assert program.finish() == 1


def test_a_connection_that_is_lost_meanwhile(broker: Broker, start: Start) -> None:
    """A request that was under way says so, and that its outcome is unknown."""

    def answer(request: Request) -> None:
        (accept if request.name == "get" else never)(request)

    broker.answer = answer
    program = start(timeout="3")
    program.send("update-job-execution Job1 FAILED")
    until(lambda: broker.requests)
    broker.drop()
    program.wait_stderr("it may have been carried out")
    assert re.search(r"likely cause: the connection (is down|was lost meanwhile)", program.stderr)
    program.wait_stderr(AGAIN)
    program.take(GET_PENDING)


# What takes its time: both programs wait while the tests above run


@pytest.fixture(scope="module", autouse=True)
def silenced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A program, connected, whose network has gone silent."""
    with (
        Broker(tmp_path_factory.mktemp("silenced")) as broker,
        Proxy(broker.port) as proxy,
        Program(broker.arguments(port=str(proxy.port)), broker.environment).started() as program,
    ):
        proxy.silent = True
        yield program


class Blocked:
    """The program, connected, with a stdout that nothing reads until `read`."""

    def __init__(self, broker: Broker, stack: ExitStack) -> None:
        self.broker = broker
        self.process = stack.enter_context(
            subprocess.Popen(
                [*COMMAND, *broker.arguments(output="json")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(broker.environment),
            )
        )
        stack.callback(self.process.kill)
        until(lambda: {*broker.subscribed} == {"notify", "notify-next"})

    def publish(self, numbers: range) -> None:
        """Publish an event for each number, and wait until the program has all of them."""
        expected = self.broker.pubacks + len(numbers)
        for first in numbers[::1000]:
            self.broker.publish_all("notify", map(event, range(first, first + 1000)))
        until(lambda: self.broker.pubacks == expected)


@pytest.fixture(scope="module", autouse=True)
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocked]:
    with ExitStack() as stack:
        broker = stack.enter_context(Broker(tmp_path_factory.mktemp("blocked")))
        blocked = Blocked(broker, stack)
        blocked.publish(range(EVENT_LIMIT + 5000))
        yield blocked


def test_a_blocked_terminal(blocked: Blocked) -> None:
    """The connection is kept, events wait up to a limit, and those beyond it are counted."""
    until(lambda: blocked.broker.pings)
    stdout, stderr = blocked.process.communicate(timeout=PATIENCE)
    shown = [json.loads(line)["body"]["timestamp"] for line in stdout.splitlines()]
    dropped = EVENT_LIMIT + 5000 - len(shown)
    assert shown == list(range(len(shown)))
    assert f"{dropped} events were dropped: the terminal was blocked".encode() in stderr
    assert 0 < dropped <= 5000
    assert blocked.broker.connections == 1


def test_a_silent_network(silenced: Program) -> None:
    """It is noticed, though nothing ends the connection; the program can still be left."""
    silenced.wait_stderr(f"{LOST}AWS_ERROR_MQTT5_PING_RESPONSE_TIMEOUT")
    assert silenced.finish() == 0
