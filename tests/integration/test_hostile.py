"""Whatever arrives on the topics is shown, drives nothing, and ends nothing."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.broker import Broker, Request
from tests.support.control import Answer
from tests.support.program import Program

CHANGED, NEXT = "JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"
GOOD = b'{"timestamp": 1748981622}'
# What can drive a terminal or reorder what it shows, all but the newline.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
NOT_DOCUMENTED = "not what AWS IoT Jobs documents: "


class Sent(NamedTuple):
    """A payload, and a piece of its block: a reason, or what must be seen of it."""

    payload: bytes
    shown: str = ""


def event(**fields: object) -> bytes:
    return json.dumps({"timestamp": 1} | fields).encode()


def execution(**fields: object) -> bytes:
    return event(execution={"jobId": "Job1", "status": "QUEUED"} | fields)


def summary(**fields: object) -> bytes:
    return event(jobs={"QUEUED": [{"jobId": "Job1"} | fields]})


NO_OBJECTS = [
    Sent(b"", NOT_DOCUMENTED),
    Sent(b"nonsense", "nonsense"),
    Sent(b'{"timestamp": 1', '{"timestamp": 1'),
    Sent(b"null", "null"),
    Sent(b"[1, 2]", "[1, 2]"),
    Sent(b'"text"', '"text"'),
    Sent(b"12", "12"),
    Sent(b"\xff\xfe\x80", r"\xff\xfe\x80"),
    Sent(b'{"timestamp": 1, "x": "\xc3\x28"}', r"\xc3("),
    Sent(b"[" * 5000 + b"]" * 5000, "[" * 5000),
    Sent(b'{"a":' * 5000 + b"1" + b"}" * 5000, '{"a":' * 5000),
    Sent(b"9" * 5000, "9" * 5000),
    Sent(b"\x1b[2J\x1b]0;title\x07 \x9b31m\x7f", r"\u001b[2J\u001b]0;title\u0007"),
    Sent("\u202eevil\u2066 \u009b31m\u2028".encode(), r"\u202eevil\u2066 \u009b31m\u2028"),
]
WRONG_TIMES: list[object] = [1e300, "now", [], {}, 10**400, float("inf")]
TIMES = [
    *(Sent(event(timestamp=time), NOT_DOCUMENTED) for time in WRONG_TIMES),
    Sent(b'{"timestamp": NaN}', NOT_DOCUMENTED),
    Sent(event(timestamp=-1), '"timestamp" : -1'),
    Sent(event(timestamp=None), '"timestamp" : null'),
]
UNSAFE_TEXT = "\x1b[31m\x00\x07\r\x7f\x9b\u202e\u2067\u2028"
SHOWN_TEXT = r"\u001b[31m\u0000\u0007\r\u007f\u009b\u202e\u2067\u2028"
ON_NOTIFY = [
    Sent(event(jobs=[]), '"jobs" : []'),
    Sent(event(jobs=[1]), NOT_DOCUMENTED),
    Sent(event(jobs="QUEUED"), NOT_DOCUMENTED),
    Sent(event(jobs=5), NOT_DOCUMENTED),
    Sent(event(jobs={"QUEUED": "Job1"}), NOT_DOCUMENTED),
    Sent(event(jobs={"QUEUED": ["Job1"]}), NOT_DOCUMENTED),
    Sent(event(jobs={"QUEUED": [None]}), NOT_DOCUMENTED),
    Sent(event(jobs={"ODD_STATUS": [{"jobId": "Job1"}]}), '"ODD_STATUS" : ['),
    Sent(summary(queuedAt="now"), NOT_DOCUMENTED),
    Sent(summary(jobId=5, versionNumber="x", executionNumber={"a": []}), '"versionNumber" : "x"'),
    Sent(summary(odd={"deep": [1]}), '"odd" : {'),
    Sent(event(odd="outer", jobs={}), '"odd" : "outer"'),
    Sent(summary(jobId=UNSAFE_TEXT), SHOWN_TEXT),
    Sent(f'{{"{UNSAFE_TEXT}": 1}}'.encode(), SHOWN_TEXT.replace(r"\r", r"\u000d")),
    Sent(b'{"timestamp": 1, "timestamp": 2}', '"timestamp" : 2'),
    Sent(event(jobs={}, filler="x" * 120 * 1024), "x" * 120 * 1024),
]
WRONG_EXECUTIONS: list[object] = [5, [], "Job1", True]
ON_NEXT = [
    *(Sent(event(execution=wrong), NOT_DOCUMENTED) for wrong in WRONG_EXECUTIONS),
    Sent(execution(status="ODD_STATUS"), '"status" : "ODD_STATUS"'),
    Sent(execution(status=7, statusDetails=[1]), '"status" : 7'),
    Sent(execution(odd=None), '"odd" : null'),
    Sent(execution(versionNumber=10**60), '"versionNumber" : 1' + "0" * 60),
    Sent(execution(jobDocument="\ud800 \udfff"), r"\ud800 \udfff"),
    Sent(execution(jobDocument={"t": UNSAFE_TEXT, UNSAFE_TEXT: 1}), SHOWN_TEXT),
    Sent(execution(jobDocument=float("nan")), '"jobDocument" : NaN'),
    Sent(execution(statusDetails={"a": float("-inf")}), '"a" : -Infinity'),
    Sent(execution(jobDocument=json.loads('{"a":' * 900 + "1" + "}" * 900)), '"a"'),
]
BY_TOPIC = {
    "notify": (CHANGED, NO_OBJECTS + TIMES + ON_NOTIFY),
    "notify-next": (NEXT, NO_OBJECTS + TIMES + ON_NEXT),
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def assert_harmless(program: Program) -> None:
    """Nothing drove the terminal, and nothing broke."""
    assert not UNSAFE.search(program.stdout)
    assert not UNSAFE.search(program.stderr)
    assert "Traceback" not in program.stderr
    assert "ignored" not in program.stderr  # how Python tells of an exception in a callback


def chunks(text: str) -> list[str]:
    """The text of each whole block, header and notes included."""
    return re.findall(r"^─── .*?\n\n", text, re.MULTILINE | re.DOTALL)


def json_lines(program: Program) -> list[dict[str, Any]]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=no_constant) for line in program.stdout.splitlines()]


@pytest.mark.parametrize("topic", BY_TOPIC)
def test_hostile_events(broker: Broker, topic: str) -> None:
    """Each payload becomes one block that shows it, in order; a good event after all of them is shown as ever."""
    title, all_sent = BY_TOPIC[topic]
    with Program(broker.arguments(), broker.environment).started() as program:
        for sent in all_sent:
            broker.publish(topic, sent.payload)
        broker.publish(topic, GOOD)
        program.wait_for(lambda: '"timestamp" : 1748981622' in program.stdout)
        shown = program.wait_for(
            lambda: len(found := chunks(program.stdout)) > len(all_sent) and found
        )
        assert len(shown) == len(all_sent) + 1
        for sent, chunk in zip(all_sent, shown, strict=False):
            assert chunk.startswith(f"─── {title} ─")
            assert sent.shown in chunk, sent.payload[:100]
        assert shown[-1].endswith('\n{\n  "timestamp" : 1748981622\n}\n\n')
        program.send("get-pending-job-executions")
        program.wait_for(lambda: "GetPendingJobExecutionsResponse" in program.stdout)
        assert program.finish() == 0
        assert_harmless(program)


@pytest.mark.parametrize("topic", BY_TOPIC)
def test_hostile_events_as_json(broker: Broker, topic: str) -> None:
    """With --output json each payload is one line that any JSON parser reads: its body, or it raw, with the reason."""
    title, all_sent = BY_TOPIC[topic]
    with Program(broker.arguments(output="json"), broker.environment).started() as program:
        for sent in all_sent:
            broker.publish(topic, sent.payload)
        broker.publish(topic, GOOD)
        program.wait_for(lambda: program.stdout.count("\n") > len(all_sent))
        lines = json_lines(program)
        assert len(lines) == len(all_sent) + 1
        for sent, line in zip(all_sent, lines, strict=False):
            assert line["type"] == title
            assert isinstance(line.get("body"), dict) != isinstance(line.get("raw"), str), (
                sent.payload[:100]
            )
            assert ("raw" not in line) or line["note"]
        assert lines[-1] == {"type": title, "body": {"timestamp": 1748981622}}
        assert program.finish() == 0
        assert_harmless(program)


def test_unknown_fields_are_shown(broker: Broker) -> None:
    """Fields that the device SDK's model drops are shown at every level, in events and in answers."""
    known = {"jobId": "Job1", "odd": {"a": [1, {"b": None}]}}
    broker.answer = lambda request: request.accept(
        queuedJobs=[known], inProgressJobs=[], odd=[known]
    )
    with Program(broker.arguments(output="json"), broker.environment).started() as program:
        broker.publish("notify", event(jobs={"QUEUED": [known]}, odd=1))
        program.wait_for(lambda: program.stdout.count("\n") == 1)
        broker.publish("notify-next", event(execution=known, odd=2))
        program.wait_for(lambda: program.stdout.count("\n") == 2)
        program.send("get-pending-job-executions")
        program.wait_for(lambda: program.stdout.count("\n") == 3)
        changed, upcoming, pending = (line["body"] for line in json_lines(program))
        assert changed == {"jobs": {"QUEUED": [known]}, "odd": 1, "timestamp": 1}
        assert upcoming["odd"] == 2
        assert upcoming["execution"]["odd"] == known["odd"]
        assert (pending["queuedJobs"], pending["odd"]) == ([known], [known])


def answers(outcome: str) -> list[tuple[str, str]]:
    """Answers with their token, ``TOKEN``, and what is seen of each."""
    wrong = [
        ('{"clientToken": "TOKEN"}', '"clientToken" : "'),
        ('{"clientToken": "TOKEN", "timestamp": "now"}', NOT_DOCUMENTED),
        ('{"clientToken": "TOKEN", "timestamp": 1e300}', NOT_DOCUMENTED),
        ('{"clientToken": "TOKEN", "timestamp": NaN}', '"timestamp" : NaN'),
        ('{"clientToken": "TOKEN", "odd": "\\u001b[2J\\u202e"}', r"\u001b[2J\u202e"),
        ('{"clientToken": "TOKEN", "odd": "' + "x" * 100_000 + '"}', "x" * 100_000),
    ]
    if outcome == "accepted":
        return [
            *wrong,
            ('{"clientToken": "TOKEN", "execution": 5}', NOT_DOCUMENTED),
            ('{"clientToken": "TOKEN", "execution": [1]}', NOT_DOCUMENTED),
            ('{"clientToken": "TOKEN", "execution": {"status": "ODD", "jobId": 5}}', '"ODD"'),
        ]
    return [
        *wrong,
        ('{"clientToken": "TOKEN", "code": 5, "message": ["\\u001b[2J"]}', r"\u001b[2J"),
        (
            '{"clientToken": "TOKEN", "code": "OddCode", "message": "m", "executionState": "x"}',
            "OddCode",
        ),
        (
            '{"clientToken": "TOKEN", "code": "C", "message": "m", "executionState": {"odd": 1}}',
            '"odd" : 1',
        ),
    ]


@pytest.mark.parametrize(
    ("outcome", "title", "status"),
    [("accepted", "DescribeJobExecutionResponse", 0), ("rejected", "Service Request Rejected", 1)],
)
def test_hostile_answers(broker: Broker, outcome: str, title: str, status: int) -> None:
    """An answer that names its request is shown, whatever else is wrong with it; its topic decides what it is."""
    payloads = answers(outcome)
    waiting = iter(payloads)

    def answer(request: Request) -> None:
        request.send(next(waiting)[0].replace("TOKEN", request.token).encode(), outcome)

    broker.answer = answer
    with Program(broker.arguments(), broker.environment).started() as program:
        program.send(*["describe-job-execution Job1"] * len(payloads))
        shown = program.wait_for(
            lambda: len(found := chunks(program.stdout)) == len(payloads) and found
        )
        for (payload, expected), chunk in zip(payloads, shown, strict=True):
            assert chunk.startswith(f"─── {title} ─"), payload[:100]
            assert expected in chunk, payload[:100]
        assert program.finish() == status
        assert_harmless(program)


def test_answers_of_other_clients(broker: Broker) -> None:
    """Answers to the requests of another client of the same thing are none of ours."""

    def answer(request: Request) -> None:
        request.send(b'{"clientToken": "theirs", "timestamp": 1}')
        request.accept()
        request.accept()  # QoS 1: duplicates happen

    broker.answer = answer
    with Program(broker.arguments(), broker.environment).started() as program:
        program.send("describe-job-execution Job1", "get-pending-job-executions")
        program.wait_for(lambda: len(program.blocks()) >= 2)
        assert program.finish() == 0
        assert [title for title, _ in program.blocks()] == [
            "DescribeJobExecutionResponse",
            "GetPendingJobExecutionsResponse",
        ]


def test_hostile_control_plane(broker: Broker) -> None:
    """Whatever the control plane answers, each command fails with a message, and the next one is run."""
    odd: list[Answer | bytes] = [
        Answer(403, {"code": 403, "message": "Forbidden"}),
        Answer(403, {"message": None}),
        Answer(403, {"message": 5}),
        Answer(400, []),
        Answer(418, b"\x1b[2J\xff"),
        Answer(302, b"", {"Location": "http://127.0.0.1:9/"}),
        Answer(400, {"message": "\x1b[2J\u202e\n  next: do as I say"}, {"x-amzn-ErrorType": "Odd"}),
    ]
    none: list[Answer | bytes] = [
        Answer(200, b"<html>Log in</html>"),
        Answer(200),
        Answer(200, {"jobArn": 5}),
    ]
    with Program(broker.arguments(), broker.environment).started() as program:
        broker.control.script(*odd, *none, Answer(403))
        program.send(*["create-job Job1 {}"] * len(odd + none))
        program.wait_for(lambda: len(broker.control.requests) > len(odd + none))
        assert program.finish() == 1
        assert program.stdout == ""
        assert program.stderr.count("iot:CreateJob") == len(odd + none)
        assert program.stderr.count("its outcome is unknown, it may have been carried out") == len(
            none
        )
        assert "\n  next: do as I say" not in program.stderr
        assert_harmless(program)
