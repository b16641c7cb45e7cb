"""Whatever arrives is shown, and neither drives the terminal nor ends anything."""

import json
from pathlib import Path

import pytest

from jobs_sandbox.core.blocks import CHANGED, NEXT_CHANGED
from tests.support.blocks import parse_blocks
from tests.support.drivers.program import Program
from tests.support.drivers.terminal import PROMPT, Terminal
from tests.support.servers.broker import Broker, Request
from tests.support.servers.control import Answer
from tests.support.waiting import until

TITLES = {"notify": CHANGED, "notify-next": NEXT_CHANGED}
ODD = "not what AWS IoT Jobs documents: "
UNSAFE = "\x1b]0;title\x07\x1b[31m\x00\x7f\x9b\u202e\u2028"
SHOWN = r"\u001b]0;title\u0007\u001b[31m\u0000\u007f\u009b\u202e\u2028"
# The bytes of all that drives a terminal in UNSAFE. What the prompt itself sends is not in it.
DRIVING = [b"\x1b]0;", b"\x07", b"\x1b[31m", b"\x00", b"\x7f", *map(str.encode, "\x9b\u202e\u2028")]
EVENTS = [
    (b"", ODD),
    (b"nonsense", "nonsense"),
    (b"[1, 2]", "[1, 2]"),
    (b"\xff\xfe\x80", r"\xff\xfe\x80"),
    (b'{"a":' * 200 + b"1" + b"}" * 200, "nested more than 100 levels"),
    (b'{"timestamp": NaN}', "NaN is not a JSON value"),
    (b'{"timestamp": 1e300}', '"timestamp" : 1e+300'),
    (UNSAFE.encode(), SHOWN),
    (json.dumps({UNSAFE: {"odd": UNSAFE}}).encode(), f'"{SHOWN}" : {{'),
    (b'{"odd": "\\ud800"}', r'"odd" : "\ud800"'),
    (b'{"execution": 5}', '"execution" : 5'),
    (b'{"jobs": {"QUEUED": [{"jobId": 5}], "ODD": "x"}}', '"ODD" : "x"'),
]


def publish(broker: Broker) -> None:
    """Publish all events, and a good one in the end, on both topics."""
    for topic in TITLES:
        for payload, _ in EVENTS:
            broker.publish(topic, payload)
        broker.publish(topic, b'{"timestamp": 1748981622}')


def test_events(broker: Broker, tmp_path: Path) -> None:
    """At the terminal, each becomes a block, and those after it are shown as ever."""
    env = broker.environment | {"XDG_STATE_HOME": str(tmp_path), "NO_COLOR": "1"}
    with Terminal(broker.arguments(), env, columns=200) as terminal:
        terminal.wait_prompt()
        publish(broker)
        terminal.wait_for(lambda: terminal.text().count('"timestamp" : 1748981622') == 2)
        blocks = terminal.text().split("─── ")[1:]
        for number, title in enumerate(TITLES.values()):
            shown = blocks[number * (len(EVENTS) + 1) :]
            for (payload, expected), block in zip(EVENTS, shown, strict=False):
                assert block.startswith(title)
                assert expected in block, payload
        assert [sequence for sequence in DRIVING if sequence in terminal.raw] == []
        terminal.wait_prompt()
        terminal.send("\x04")
        assert terminal.finish() == 0
        assert terminal.lines().count(PROMPT) <= 1


def test_events_as_json(broker: Broker) -> None:
    """With --output json each is a line that any JSON parser reads: its body, or raw text."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    with Program(broker.arguments(output="json"), broker.environment).started() as program:
        publish(broker)
        program.wait_for(lambda: program.stdout.count("1748981622") == 2)
        lines = [json.loads(line, parse_constant=refuse) for line in program.stdout.splitlines()]
        assert len(lines) == 2 * len(EVENTS) + 2
        for line in lines:
            assert isinstance(line.get("body"), dict) or (line["note"] and line["raw"] is not None)
        assert program.finish() == 0
        assert program.stdout.isascii()
        assert program.stderr.count("\n") == 1


ANSWERS: list[tuple[dict[str, object], str]] = [
    ({"timestamp": "now"}, '"timestamp" : "now"'),
    ({"odd": UNSAFE}, SHOWN),
    ({"odd": "x" * 100_000}, "x" * 100_000),
    ({"execution": [1], "executionState": "x"}, '"executionState" : "x"'),
    ({"code": 5, "message": [UNSAFE], "execution": {"status": "ODD", "jobId": 5}}, "5"),
]


@pytest.mark.parametrize(
    ("outcome", "title", "status"),
    [("accepted", "DescribeJobExecutionResponse", 0), ("rejected", "Service Request Rejected", 1)],
)
def test_answers(broker: Broker, outcome: str, title: str, status: int) -> None:
    """An answer is shown, whatever is wrong with it; its topic decides whether it is an error."""
    waiting = iter(ANSWERS)

    def answer(request: Request) -> None:
        body = {"clientToken": request.token} | next(waiting)[0]
        request.send(json.dumps(body).encode(), outcome)

    broker.answer = answer
    with Program(broker.arguments(), broker.environment).started() as program:
        program.send(*["describe-job-execution Job1"] * len(ANSWERS))
        assert program.finish() == status
        shown = parse_blocks(program.stdout)
        for (sent, expected), (header, body) in zip(ANSWERS, shown, strict=True):
            assert header == title
            assert expected in body, sent
        output = (program.stdout + program.stderr).encode()
        assert [sequence for sequence in DRIVING if sequence in output] == []
        assert "Traceback" not in program.stderr


def test_the_control_plane(broker: Broker) -> None:
    """Whatever it answers, the command fails with a message, and the next one runs."""
    answers: list[Answer | bytes] = [
        Answer(403, {"message": None}),
        Answer(302, b"", {"Location": "http://127.0.0.1:9/"}),
        Answer(400, {"message": f"{UNSAFE}\n  next: do as I say"}, {"x-amzn-ErrorType": "Odd"}),
        Answer(200, b"<html>Log in</html>"),
        Answer(418, UNSAFE.encode() + b"\xff"),
        b"nonsense",
    ]
    with Program(broker.arguments(), broker.environment).started() as program:
        broker.control.script(*answers)
        program.send(*["create-job Job1 {}"] * len(answers))
        until(lambda: len(broker.control.requests) == len(answers) + 1)
        assert program.finish() == 1
        assert program.stdout == ""
        assert program.stderr.count("iot:CreateJob") == len(answers)
        assert program.stderr.count("it may have been carried out") == 3
        assert "\n  next: do as I say" not in program.stderr
        output = program.stderr.encode()
        assert [sequence for sequence in DRIVING if sequence in output] == []
        assert "Traceback" not in program.stderr
