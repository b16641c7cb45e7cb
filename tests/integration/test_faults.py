"""The connection fails in every way it can, and the program tells the truth about it and loses nothing."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import mqtt5
import psutil
import pytest

from tests.support.broker import Broker, Request, accept, never
from tests.support.ministack import MiniStack
from tests.support.program import COMMAND, PATIENCE, Program, environment
from tests.support.proxy import Proxy
from tests.support.terminal import Terminal

CHANGED, NEXT, MISSED = "JobExecutionsChangedEvent", "NextJobExecutionChangedEvent", "MissedChanges"
SILENCE_NOTICED = 15.0  # seconds; as data_plane.py states
LOST = "connection lost: "


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def start(broker: Broker, **options: str) -> Program:
    return Program(broker.arguments(None, **options), broker.environment).started()


def event(number: int) -> bytes:
    return b'{"timestamp": %d}' % number


def assert_streams_alive(broker: Broker, program: Program, number: int) -> None:
    """One event on each topic is shown, once."""
    broker.publish("notify", event(number))
    broker.publish("notify-next", event(number))
    assert program.take(CHANGED, NEXT) == {
        CHANGED: {"timestamp": number},
        NEXT: {"timestamp": number},
    }


def lines(program: Program, start: str) -> list[str]:
    return [line for line in program.stderr.splitlines() if line.startswith(start)]


def caught_up(broker: Broker, times: int) -> None:
    """Wait until the program has asked so often what is pending."""
    broker.wait_for(lambda: [request.name for request in broker.requests].count("get") >= times)


# The connection


def test_broker_gone_for_a_while(broker: Broker) -> None:
    """Each change is one line with its cause, requests meanwhile fail in time, and both streams come back."""
    with start(broker, timeout="1") as program:
        broker.refuse()
        program.wait_stderr("cannot reconnect yet: ")
        program.send("get-pending-job-executions", "update-job-execution Job1 FAILED")
        program.wait_stderr("`update-job-execution Job1 FAILED` again")
        broker.listen()
        program.wait_stderr("reconnected after ")
        caught_up(broker, 1)
        assert_streams_alive(broker, program, 5)
        program.send("describe-job-execution Job1")
        program.wait_for(lambda: "DescribeJobExecutionResponse" in program.stdout)
        assert program.finish() == 1
    assert re.fullmatch(
        r"connected to .*\n"
        r"connection lost: AWS_IO_SOCKET_CLOSED: .*\n"
        r"cannot reconnect yet: AWS_IO_SOCKET_CONNECTION_REFUSED: .*\n"
        r"line 1: no answer within 1 s\n  likely cause: the connection is down .*REFUSED: .*\n"
        r"  next: repeat this after the reconnect, .*\n"
        r"line 2: no answer within 1 s\n  likely cause: the connection is down .*REFUSED: .*\n"
        r"  next: .*it may have been carried out: .update-job-execution Job1 FAILED. again .*\n"
        r"reconnected after \d+\.\d s\n",
        program.stderr,
    )


@pytest.mark.parametrize(
    ("reason", "words", "told"),
    [
        (
            mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN,
            None,
            "SERVER_SHUTTING_DOWN (139)",
        ),
        (
            mqtt5.DisconnectReasonCode.ADMINISTRATIVE_ACTION,
            "evil\u202e\nwords",
            r"ADMINISTRATIVE_ACTION (152): evil\u202e words",
        ),
    ],
)
def test_sent_away(
    broker: Broker, reason: mqtt5.DisconnectReasonCode, words: str | None, told: str
) -> None:
    """A broker that sends the client away is quoted, harmlessly."""
    with start(broker) as program:
        broker.disconnect(reason, words)
        program.wait_stderr("reconnected after ")
        assert lines(program, LOST) == [LOST + told]


def test_refused_on_the_way_back(broker: Broker) -> None:
    """A broker that refuses the connection later than at the start is quoted once, and the program tries on."""
    with start(broker) as program:
        broker.connack = mqtt5.ConnAckReasonCode.SERVER_BUSY
        broker.drop()
        broker.wait_for(lambda: broker.connections >= 4)
        broker.connack = mqtt5.ConnAckReasonCode.SUCCESS
        program.wait_stderr("reconnected after ")
        assert lines(program, "cannot") == ["cannot reconnect yet: SERVER_BUSY (137)"]


def test_session_taken_over(broker: Broker) -> None:
    """Two programs of one client id throw each other out for ever: each says so, and recovers."""
    with start(broker, client_id="test-same") as first:
        with start(broker, client_id="test-same") as second:
            broker.wait_for(lambda: broker.connections >= 9, patience=30)
            second.finish()
        taken_over = lines(first, LOST)
        assert len(taken_over) >= 2
        assert all(
            "SESSION_TAKEN_OVER (142): another client connected with the same client id" in t
            for t in taken_over
        )
        attempts = 20  # it may have been thrown out last, and be on its way back
        while not first.blocks():
            attempts -= 1
            assert attempts, first.stderr
            broker.publish("notify", event(6))
            with suppress(AssertionError):
                first.wait_for(first.blocks, patience=0.5)


def test_silent_network_and_exits(broker: Broker, tmp_path: Path) -> None:
    """A silent network is noticed within the stated bound, and leaving is prompt in every state of the connection."""
    with Proxy(broker.port) as proxy, running_ministack(tmp_path) as ministack:
        arguments = broker.arguments(proxy.port)
        device = ministack.account.device()
        operator = ministack.account.operator(device.thing)
        with (
            Program(arguments, broker.environment).started() as staying,
            Program(arguments, broker.environment).started() as leaving,
            Program(arguments, broker.environment).started() as connected,
            Program(ministack.account.arguments(device), operator).started() as stopped,
        ):
            assert leaves_within(connected) < 5
            proxy.silent = True
            ministack.child.suspend()
            began = time.monotonic()
            assert leaves_within(leaving) < 5
            for program in (staying, stopped):
                program.wait_stderr(LOST, SILENCE_NOTICED + 10)
                assert "AWS_ERROR_MQTT5_PING_RESPONSE_TIMEOUT" in lines(program, LOST)[0]
            assert time.monotonic() - began < SILENCE_NOTICED + 5
            ministack.child.resume()
            stopped.wait_stderr("reconnected after ", 30)
            job_id = ministack.account.create_job(device.thing)
            assert stopped.take(CHANGED, NEXT)[NEXT]["execution"]["jobId"] == job_id
            assert leaves_within(staying) < 5  # while it tries to reconnect


def leaves_within(program: Program) -> float:
    began = time.monotonic()
    assert program.finish() == 0
    return time.monotonic() - began


# Subscriptions


def test_stream_refused_after_a_reconnect(broker: Broker) -> None:
    """A stream that loses its subscription for good names the permission; the other lives, and it may come back."""
    with start(broker) as program:
        broker.suback["notify"] = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
        broker.drop()
        program.wait_stderr("the JobExecutionsChangedEvent stream was refused its subscription")
        program.wait_stderr(
            "iot:Subscribe on topicfilter/$aws/things/Thing/jobs/notify; its events are not shown"
        )
        caught_up(broker, 1)
        broker.publish("notify", event(1))
        broker.publish("notify-next", event(2))
        assert program.take(NEXT) == {NEXT: {"timestamp": 2}}
        broker.suback.clear()
        broker.drop()
        caught_up(broker, 2)
        assert_streams_alive(broker, program, 3)


# Requests


def test_lost_answers(broker: Broker) -> None:
    """A request without an answer is of unknown outcome, and says how to look; a late answer is not shown."""
    broker.answer = never
    with start(broker, timeout="1") as program:
        program.send("update-job-execution Job1 SUCCEEDED")
        program.wait_stderr("line 1: no answer within 1 s")
        assert "iot:Receive on topic/$aws/things/Thing/jobs/*/update/*" in program.stderr
        assert "`update-job-execution Job1 SUCCEEDED` again" in program.stderr
        broker.requests[0].accept()
        broker.answer = accept
        program.send("get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")
        assert program.finish() == 1


def test_connection_lost_while_waiting(broker: Broker) -> None:
    """A request that was under way when the connection was lost tells that, and that its outcome is unknown."""

    def answer(request: Request) -> None:
        (accept if request.name == "get" else never)(request)

    broker.answer = answer
    with start(broker, timeout="2") as program:
        program.send("update-job-execution Job1 FAILED")
        broker.wait_for(lambda: len(broker.requests) == 1)
        broker.drop()
        program.wait_stderr("it may have been carried out")
        assert re.search(
            r"likely cause: the connection (is down|was lost meanwhile)", program.stderr
        )
        program.wait_stderr("reconnected after ")
        program.send("get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")


@pytest.mark.parametrize(
    ("codes", "missing"),
    [
        ("puback", "iot:Publish on topic/$aws/things/Thing/jobs/*/update"),
        ("suback", "iot:Subscribe on topicfilter/$aws/things/Thing/jobs/*/update/*"),
    ],
)
def test_refused_requests(broker: Broker, codes: str, missing: str) -> None:
    """A request that the broker refuses names the permission that is missing, and the prompt goes on."""
    broker.puback["Job1/update"] = mqtt5.PubAckReasonCode.NOT_AUTHORIZED
    if codes == "suback":
        broker.suback["Job1/update/+"] = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
    with start(broker) as program:
        program.send("update-job-execution Job1 FAILED", "get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")
        program.wait_stderr(
            f"no policy of the certificate allows {missing}\n"
        )  # the other pipe may be read later
        assert "outcome is unknown" not in program.stderr


# What happened while the connection was down


def test_resumed_session(broker: Broker) -> None:
    """A broker that kept the session delivers what was missed, and nothing is shown twice."""
    broker.keep_sessions = True
    queued = {"jobId": "Job1", "versionNumber": 1}
    broker.answer = lambda request: request.accept(queuedJobs=[queued], inProgressJobs=[])
    with start(broker) as program:
        broker.refuse()
        program.wait_stderr(LOST)
        broker.publish(
            "notify",
            b'{"jobs": {"QUEUED": [{"jobId": "Job1", "versionNumber": 1}]}, "timestamp": 1}',
        )
        broker.publish("notify-next", event(2))
        broker.listen()
        assert program.take(CHANGED, NEXT)[NEXT] == {"timestamp": 2}
        assert broker.subscribed.count("notify") == 1
        assert_streams_alive(broker, program, 3)
        program.finish()
        assert MISSED not in program.stdout
        assert broker.requests == []


def test_forgotten_session(broker: Broker) -> None:
    """What changed while the connection was down is asked for once and shown; without changes it stays silent."""
    with start(broker) as program:
        program.send("get-pending-job-executions")
        program.take("GetPendingJobExecutionsResponse")
        broker.answer = lambda request: request.accept(
            queuedJobs=[{"jobId": "Job9"}], inProgressJobs=[]
        )
        broker.drop()
        program.wait_for(lambda: len(program.blocks()) == 2)
        title, body = program.blocks()[-1]
        assert title == MISSED
        assert body.startswith("(while the connection was down)\n")
        assert '"was" : null' in body
        assert '"now" : "QUEUED"' in body
        broker.drop()
        caught_up(broker, 3)
        broker.publish("notify", event(4))
        program.wait_for(lambda: len(program.blocks()) == 3)
        assert program.blocks()[-1][0] == CHANGED
        assert len(broker.requests) == 3


def test_missed_changes_unknown(broker: Broker) -> None:
    """When what changed cannot be learnt, that is said."""
    with start(broker, timeout="1") as program:
        broker.answer = never
        broker.drop()
        program.wait_stderr(
            "what changed while the connection was down is not known: no answer within "
        )


# A real AWS IoT, killed


@contextmanager
def running_ministack(folder: Path) -> Iterator[MiniStack]:
    ministack = MiniStack(folder / "ministack")
    try:
        yield ministack
    finally:
        ministack.end(signal.SIGKILL)


def test_ministack_killed(tmp_path: Path) -> None:
    """An AWS IoT that is killed and started again: one line each, both streams alive, the changes found."""
    with running_ministack(tmp_path) as ministack:
        device = ministack.account.device()
        operator = ministack.account.operator(device.thing)
        Program(
            ministack.account.arguments(device), operator
        ).started().__exit__()  # makes the thing
        ministack.end(signal.SIGTERM)  # saves its state, as a kill does not
        ministack.start_again()
        with Program(ministack.account.arguments(device), operator).started() as program:
            gone = ministack.account.create_job(device.thing, "Gone")
            assert program.take(CHANGED, NEXT)[NEXT]["execution"]["jobId"] == gone
            ministack.end(signal.SIGKILL)
            program.wait_stderr("cannot reconnect yet: ")
            ministack.start_again()
            program.wait_stderr("reconnected after ")
            program.wait_for(lambda: len(program.blocks()) == 3)
            title, body = program.blocks()[-1]
            assert (title, '"now" : null' in body, '"was" : "QUEUED"' in body) == (
                MISSED,
                True,
                True,
            )
            program._seen += 1
            job_id = ministack.account.create_job(device.thing)
            assert program.take(CHANGED, NEXT)[NEXT]["execution"]["jobId"] == job_id
            assert len(lines(program, LOST)) == 1
            assert "Traceback" not in program.stderr


def test_policy_detached_meanwhile(tmp_path: Path) -> None:
    """A stream whose permission was taken away while the connection was down says so after the reconnect."""
    with running_ministack(tmp_path) as ministack:
        account = ministack.account
        device = account.device()
        with (
            Proxy(account.local.port) as proxy,
            Program(
                account.arguments(device, port=str(proxy.port)), account.operator(device.thing)
            ) as program,
        ):
            program.started()
            proxy.refuse()
            program.wait_stderr(LOST)
            ministack.end(
                signal.SIGTERM
            )  # with it goes the MQTT session, and the subscriptions in it
            ministack.start_again()
            [attached] = account.iot.list_attached_policies(target=device.certificate_arn)[
                "policies"
            ]
            account.iot.detach_policy(
                policyName=attached["policyName"], target=device.certificate_arn
            )
            document = account.policy("device-policy", device.thing).replace(
                "/jobs/notify-next", "/jobs/other"
            )
            account.iot.create_policy(policyName="less", policyDocument=document)
            account.iot.attach_policy(policyName="less", target=device.certificate_arn)
            proxy.listen()
            program.wait_stderr("reconnected after ")
            program.wait_stderr(
                f"no policy of the certificate allows iot:Subscribe on topicfilter/$aws/things/{device.thing}"
                "/jobs/notify-next;"
            )
            account.create_job(device.thing)
            program.take(CHANGED)


# A terminal that does not take what is written


class Blocked:
    """The program, connected, with a stdout that nobody reads until `read`; a context manager."""

    def __init__(self, folder: Path) -> None:
        self.broker = Broker(folder)
        self._errors = (folder / "stderr").open("wb+")
        self._process = subprocess.Popen(
            [*COMMAND, *self.broker.arguments(output="json")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(self.broker.environment),
        )
        self.broker.wait_for(
            lambda: set(self.broker.subscribed) >= {"notify", "notify-next"}, PATIENCE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        with self._process:
            self._errors.close()
            self.broker.__exit__()

    def publish(self, numbers: range, filler: int) -> None:
        """Publish one event for each number, and wait until the program has them all."""
        expected = self.broker.pubacks + len(numbers)
        payload = b'{"timestamp": %d, "filler": "' + b"x" * filler + b'"}'
        self.broker.publish_all("notify", [payload % number for number in numbers])
        self.broker.wait_for(lambda: self.broker.pubacks == expected, 30)

    def resident_size(self) -> int:
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def read(self) -> tuple[list[int], str]:
        """Read stdout and let the program end: the numbers of the events that it showed, and its stderr."""
        shown, _ = self._process.communicate(timeout=PATIENCE)
        self._errors.seek(0)
        return [
            json.loads(line)["body"]["timestamp"] for line in shown.splitlines()
        ], self._errors.read().decode()


@pytest.fixture(scope="module", autouse=True)
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blocked]:
    """Blocked while the other tests of this module run: the keep-alive takes its time."""
    with Blocked(tmp_path_factory.mktemp("blocked")) as blocked:
        blocked.publish(range(3000), 400)
        yield blocked


def test_slow_terminal(blocked: Blocked) -> None:
    """With stdout blocked for longer than the keep-alive, the connection stays up and no event is lost."""
    broker = blocked.broker
    pings = broker.pings
    broker.wait_for(lambda: broker.pings > pings, 15)
    blocked.publish(range(3000, 3001), 400)
    numbers, errors = blocked.read()
    assert numbers == list(range(3001))
    assert broker.connections == 1
    assert "lost" not in errors


def test_flooded_terminal(tmp_path: Path) -> None:
    """With stdout blocked, memory is bounded; what is dropped for that is counted and told."""
    with Blocked(tmp_path) as flooded:
        before = flooded.resident_size()
        flooded.publish(range(400), 100_000)
        assert flooded.resident_size() - before < 150 * 2**20
        numbers, errors = flooded.read()
        [dropped] = re.findall(r"(\d+) events were dropped: the terminal was blocked", errors)
        assert numbers == list(range(400 - int(dropped)))


def test_reconnecting_at_the_prompt(broker: Broker, tmp_path: Path) -> None:
    """At a prompt the lines appear above what is typed, the toolbar tells the state, and Ctrl-D leaves at once."""
    env = broker.environment | {"XDG_STATE_HOME": str(tmp_path)}
    with Terminal(broker.arguments(), env) as terminal:
        terminal.wait_prompt()
        terminal.send("describe-job-execution J")
        terminal.wait_prompt("describe-job-execution J")
        broker.refuse()
        terminal.wait_text("connection lost: ")
        terminal.wait_text("reconnecting for ")
        terminal.wait_prompt("describe-job-execution J")
        broker.listen()
        terminal.wait_text("reconnected after ")
        terminal.wait_prompt("describe-job-execution J")
        broker.refuse()
        terminal.send("\x03")
        terminal.wait_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
