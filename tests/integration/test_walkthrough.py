"""The walkthrough as JSON, and several clients of ``--local``."""

import json
import re
import shlex
from contextlib import ExitStack

from tests.support.drivers.program import Program, run
from tests.support.readme import steps

REJECTED = "Service Request Rejected"
CHANGED, NEXT = "JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"


def test_walkthrough_as_json() -> None:
    """With ``--output json`` each line of stdout is an object with the fields of a README block."""
    walkthrough = steps("Walkthrough")
    script = [line for step in walkthrough for line in step.lines]
    creates = [number for number, line in enumerate(script, 1) if line.startswith("create-job")]
    for number in reversed(creates):  # the executions are there a moment after the answer
        script.insert(number, "wait JobExecutionsChangedEvent")
    script += ["wait 0.3", "nonsense", "update-job-execution Nope FAILED"]
    done = run(["--local", "--output", "json"], "".join(f"{line}\n" for line in script))
    assert done.returncode == 1  # nonsense

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(set(line) == {"type", "body"} and isinstance(line["body"], dict) for line in lines)
    shown = [(title, body) for step in walkthrough for title, body in step.blocks or ()]
    assert sorted(line["type"] for line in lines) == sorted(
        [*(title for title, _ in shown), REJECTED]
    )
    readme_fields = sorted(_fields(title, body) for title, body in shown)
    assert (
        sorted(_fields(line["type"], json.dumps(line["body"])) for line in lines[:-1])
        == readme_fields
    )

    notices = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["type"] for line in notices} == {"Notice", "Error"}
    errors = [line for line in notices if line["type"] == "Error"]
    assert [error["line"] for error in errors] == [len(script) - 1, len(script)]
    assert errors[0]["command"] == "nonsense"


def _fields(title: str, body: str) -> list[str]:
    """The title of a block and the names in it, whichever way it is laid out."""
    return [title, *sorted(re.findall(r'"(\w+)" ?:', body) or re.findall(r"(?m)^(\w+):", body))]


def test_two_at_once() -> None:
    """Two ``--local`` at once have the same job each, and hear nothing of one another."""
    with ExitStack() as stack:
        programs = [stack.enter_context(Program(["--local"])) for _ in range(2)]
        for program in programs:
            program.started()
        for program in programs:
            program.send("create-job Job1 {}")
            program.take("CreateJobOutput", CHANGED, NEXT)
        programs[0].send("update-job-execution Job1 FAILED")
        programs[0].take("UpdateJobExecutionResult", CHANGED, NEXT)
        assert programs[0].finish() == 0
        programs[1].send("expect Job1 QUEUED")
        programs[1].take("DescribeJobExecutionOutput")
        assert programs[1].finish() == 0


def test_the_invitation() -> None:
    """A second client, started with exactly what the first one prints, gets the same events."""
    with Program(["--local", "Shared-Thing"]) as first:
        first.started().send("connection")
        shown = first.take("Connection")["Connection"]
        exports = re.search(r"^export (.+)$", shown, re.MULTILINE)
        command = re.search(r"^\S+/jobs-sandbox (.+)$", shown, re.MULTILINE)
        assert exports
        assert command
        env = dict(word.split("=", 1) for word in shlex.split(exports[1]))
        assert set(env) == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
            "AWS_ENDPOINT_URL",
        }
        with Program(shlex.split(command[1]), env) as second:
            second.started()
            assert "created the thing" not in second.stderr
            second.send('create-job Job1 {"made":"by the second"}')
            events = {**second.take("CreateJobOutput", CHANGED, NEXT)}
            del events["CreateJobOutput"]
            assert first.take(CHANGED, NEXT) == events
            assert second.finish() == 0
        assert first.finish() == 0


def test_the_invitation_as_json() -> None:
    """As JSON, the first line of stderr is one notice that holds all that a second client needs."""
    done = run(["--local", "--output", "json"])
    notice = json.loads(done.stderr.splitlines()[0])
    assert notice["type"] == "Notice"
    needed = {
        "endpoint",
        "port",
        "ca_file",
        "cert",
        "key",
        "region",
        "thing",
        "endpoint_url",
        "environment",
    }
    assert set(notice) == needed | {"type", "client_id", "command"}
    assert notice["thing"] == "SandboxThing"
