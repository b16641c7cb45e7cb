"""A session: lines in, answers, events and failures out."""

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox import session as session_module
from jobs_sandbox import threads
from jobs_sandbox.blocks import Block, Pending
from jobs_sandbox.commands import COMMANDS, Quit
from jobs_sandbox.errors import Rejected, RequestFailed, SandboxError, UsageError
from jobs_sandbox.session import run_script
from tests.unit.fakes import FakeData, FakeRun, Outcome, Screen, pending
from tests.unit.test_console import Gone, titles

PATIENCE = 10
PENDING = Block("GetPendingJobExecutionsResponse", {"queuedJobs": [{"jobId": "Job1"}], "inProgressJobs": []})
UPDATED = Block("UpdateJobExecutionResult", {"executionState": None})
CHANGED = Block("JobExecutionsChangedEvent", {"jobs": {}})
NEXT = Block("NextJobExecutionChangedEvent", {})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, screen: Screen) -> FakeRun:
    """A session that gives up at once on a request that has no answer yet."""
    monkeypatch.setattr(session_module, "_GRACE_TIMEOUT", 0.01)
    return FakeRun(screen, timeout=0)


def failing(error: Exception) -> Callable[[], Block]:
    def fail() -> Block:
        raise error

    return fail


# Commands


def test_answer_is_shown(stage: FakeRun) -> None:
    """The answer to a command is shown as a response, and what it says is learnt."""
    stage.data.outcome = PENDING
    stage.session.run("get-pending-job-executions")
    assert titles(stage.screen.stdout) == ["GetPendingJobExecutionsResponse"]
    assert stage.session.executions.counts() == (1, 0)


def test_control_plane_answer_is_shown(stage: FakeRun) -> None:
    """An answer of the control plane is shown in the same way."""
    stage.session.event(Block("CreateJobOutput", {"jobId": "Job1"}))
    stage.session.run("delete-job Job1")
    assert titles(stage.screen.stdout) == ["CreateJobOutput", "DeleteJobOutput"]
    assert stage.session.executions.job_ids() == {}


def test_update_is_learnt(stage: FakeRun) -> None:
    """An accepted update, whose answer names no job, still tells what the execution's status is."""
    stage.session.event(Block("JobExecutionsChangedEvent", {"jobs": {}}))
    stage.data.outcome = UPDATED
    stage.session.run("update-job-execution Job1 in_progress")
    assert stage.session.executions.counts() == (0, 1)


def test_refused_update_is_not_learnt(stage: FakeRun) -> None:
    """A rejected update teaches nothing."""
    stage.data.outcome = Rejected({"code": "InvalidRequest", "message": "no"}, b"")
    with pytest.raises(Rejected):
        stage.session.run("update-job-execution Job1 CANCELED")
    assert stage.session.executions.counts() is None


@pytest.mark.parametrize("line", ["", "  ", "# comment"])
def test_nothing_to_do(stage: FakeRun, line: str) -> None:
    """A blank line or a comment does nothing."""
    stage.session.run(line)
    assert (stage.screen.stdout, stage.screen.stderr, stage.data.calls) == ("", "", [])


def test_mistake(stage: FakeRun) -> None:
    """A line that is no command is raised, with nothing shown or sent."""
    with pytest.raises(UsageError, match="unknown command"):
        stage.session.run("frobnicate")
    assert (stage.screen.stdout, stage.data.calls) == ("", [])


def test_help(stage: FakeRun) -> None:
    """``help`` shows every command."""
    stage.session.run("help")
    assert titles(stage.screen.stdout) == ["Help"]
    assert all(f"\n  {command.usage}\n" in stage.screen.stdout for command in COMMANDS.values())


def test_quit(stage: FakeRun) -> None:
    """``quit`` and ``exit`` leave."""
    for line in ("quit", "exit"):
        with pytest.raises(Quit):
            stage.session.run(line)


def test_rejected(stage: FakeRun) -> None:
    """A rejection is shown as its own block and raised, so that a script fails."""
    body: dict[str, object] = {"code": "ResourceNotFound", "message": "no such job", "clientToken": "c"}
    stage.data.outcome = Rejected(body, b"{}")
    with pytest.raises(Rejected, match="the service rejected the request: ResourceNotFound: no such job"):
        stage.session.run("describe-job-execution Job1")
    header, rest = stage.screen.stdout.split("\n", 1)
    assert header.startswith("─── Service Request Rejected ──")
    assert json.loads(rest) == body


def test_unreadable_rejection(stage: FakeRun) -> None:
    """A rejection that cannot be read is shown as it came."""
    stage.data.outcome = Rejected(None, b"\x1bno")
    with pytest.raises(Rejected, match="it cannot be read"):
        stage.session.run("describe-job-execution Job1")
    assert "\n\\u001bno\n" in stage.screen.stdout


@pytest.mark.parametrize(
    ("line", "look"),
    [
        ("create-job Job1 {}", COMMANDS["create-job"].check_with.format("Job1")),
        ("delete-job Job1", "`delete-job Job1` again shows: ResourceNotFoundException means that it is gone"),
        ("start-next-pending-job-execution", "`get-pending-job-executions` shows whether an execution was started"),
        (
            "update-job-execution Job1 FAILED",
            "`update-job-execution Job1 FAILED` again tells: it is accepted, or rejected with the executionState",
        ),
    ],
)
def test_uncertain(stage: FakeRun, line: str, look: str) -> None:
    """A change that may have happened is said to be that, with the command that shows whether it did."""
    error = RequestFailed("lost", cause="the network", next_step="try", uncertain=True)
    stage.data.outcome, stage.control.outcome = error, failing(error)
    with pytest.raises(RequestFailed) as caught:
        stage.session.run(line)
    assert caught.value is error
    assert error.next_step == f"its outcome is unknown, it may have been carried out: {look}."
    assert error.cause == "the network"


@pytest.mark.parametrize(("line", "uncertain"), [("get-pending-job-executions", True), ("delete-job Job1", False)])
def test_certain(stage: FakeRun, line: str, uncertain: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Reading again costs nothing, and what certainly failed is not said to be unknown."""
    error = RequestFailed("lost", next_step="try", uncertain=uncertain)
    stage.data.outcome, stage.control.outcome = error, failing(error)
    with pytest.raises(RequestFailed):
        stage.session.run(line)
    assert error.next_step == "try"


def test_time_out(impatient: FakeRun) -> None:
    """Without an answer in time the command fails, its outcome unknown; the late answer is shown and learnt as such."""
    with pytest.raises(RequestFailed, match=r"no answer within 0 s") as caught:
        impatient.session.run("update-job-execution Job1 FAILED")
    assert "`update-job-execution Job1 FAILED` again tells" in caught.value.next_step
    assert impatient.screen.stdout == ""
    impatient.data.given[0].set_result(UPDATED)
    assert titles(impatient.screen.stdout) == ["UpdateJobExecutionResult"]
    assert "\n(late answer to: update-job-execution Job1)\n" in impatient.screen.stdout


def test_late_rejection(impatient: FakeRun) -> None:
    """A late rejection is shown as such."""
    with pytest.raises(RequestFailed):
        impatient.session.run("describe-job-execution Job1")
    impatient.data.given[0].set_exception(Rejected({"code": "ResourceNotFound"}, b""))
    assert impatient.screen.stdout.splitlines()[0].startswith("─── Service Request Rejected ─")
    assert "\n(late answer to: describe-job-execution Job1)\n" in impatient.screen.stdout


def test_late_failure(impatient: FakeRun) -> None:
    """A request that fails after it was given up is told in a line."""
    with pytest.raises(RequestFailed):
        impatient.session.run("get-pending-job-executions")
    impatient.data.given[0].set_exception(RequestFailed("it broke"))
    assert impatient.screen.stderr == "`get-pending-job-executions`, no longer waited for: it broke\n"


def test_late_failure_of_unknown_outcome(impatient: FakeRun) -> None:
    """A change that fails uncertainly after it was given up is not called a failure: how to look is told again."""
    with pytest.raises(RequestFailed):
        impatient.session.run("update-job-execution Job1 SUCCEEDED")
    impatient.data.given[0].set_exception(RequestFailed("no word", uncertain=True))
    assert "no longer waited for: no word" in impatient.screen.stderr
    assert "its outcome is unknown" in impatient.screen.stderr
    assert "`update-job-execution Job1 SUCCEEDED` again tells" in impatient.screen.stderr


def test_late_failure_after_the_end(impatient: FakeRun) -> None:
    """While the program leaves, what fails for that is no news."""
    with pytest.raises(RequestFailed):
        impatient.session.run("get-pending-job-executions")
    impatient.session.connection("stopped", "")
    impatient.data.given[0].set_exception(RequestFailed("stopped"))
    assert impatient.screen.stderr == ""


def test_late_answer_that_nobody_asked_for(stage: FakeRun) -> None:
    """The late answer to a request of the program's own is taken in without a word."""
    stage.session.late_answer(
        Block("GetPendingJobExecutionsResponse", {"queuedJobs": [], "inProgressJobs": []}), Pending()
    )
    assert stage.screen.stdout == ""
    assert stage.session.executions.counts() == (0, 0)


def test_late_update_is_learnt(impatient: FakeRun) -> None:
    """An update whose answer comes late counts all the same; one that is rejected late does not."""
    impatient.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    for _ in range(2):
        with pytest.raises(RequestFailed):
            impatient.session.run("update-job-execution Job1 IN_PROGRESS")
    impatient.session.late_answer(Block("Service Request Rejected", {"code": "x"}), impatient.data.given[0])
    assert impatient.session.executions.counts() == (1, 0)
    impatient.data.given[1].set_result(UPDATED)
    assert impatient.session.executions.counts() == (0, 1)


def test_seconds_count_from_the_change(stage: FakeRun) -> None:
    """A further word about a connection that is down does not start its time anew."""
    stage.session.connection("reconnecting", "lost")
    since = stage.session.since
    stage.session.connection("reconnecting", "still down")
    assert stage.session.since == since


def test_a_slow_control_plane(impatient: FakeRun) -> None:
    """A control plane that is slower than the timeout is given up in the same way."""
    go = threading.Event()

    def slow() -> Block:
        assert go.wait(PATIENCE)
        return Block("DeleteJobOutput", {"jobId": "Job1"})

    shown = threading.Event()
    impatient.session.on_change = shown.set
    impatient.control.outcome = slow
    with pytest.raises(RequestFailed, match="no answer"):
        impatient.session.run("delete-job Job1")
    go.set()
    assert shown.wait(PATIENCE)
    assert "(late answer to: delete-job Job1)" in impatient.screen.stdout


def test_interrupted(stage: FakeRun) -> None:
    """Ctrl-C stops waiting; the answer that comes later is shown as such."""

    class Interrupted(FakeData):
        def get_pending_job_executions(self) -> Any:
            made = super().get_pending_job_executions()
            threading.Timer(0.02, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
            return made

    data = Interrupted()
    stage.session.data = data
    with pytest.raises(KeyboardInterrupt):
        stage.session.run("get-pending-job-executions")
    assert stage.screen.stdout == ""
    data.given[0].set_result(PENDING)
    assert "\n(late answer to: get-pending-job-executions)\n" in stage.screen.stdout
    assert stage.session.executions.counts() == (1, 0)


# Waiting for events


def test_wait_for_an_event_that_came(impatient: FakeRun) -> None:
    """An event that came already is what ``wait`` waits for, once."""
    impatient.session.event(CHANGED)
    impatient.session.run("wait JobExecutionsChangedEvent 0")
    with pytest.raises(RequestFailed):
        impatient.session.run("wait JobExecutionsChangedEvent 0")


def test_wait_for_two_events(impatient: FakeRun) -> None:
    """Each of two events that came is waited for by itself."""
    impatient.session.event(CHANGED)
    impatient.session.event(CHANGED)
    for _ in range(2):
        impatient.session.run("wait JobExecutionsChangedEvent 0")
    with pytest.raises(RequestFailed):
        impatient.session.run("wait JobExecutionsChangedEvent 0")


@pytest.mark.parametrize("line", ["get-pending-job-executions", "wait JobExecutionsChangedEvent 30"])
def test_what_comes_ends_the_wait(monkeypatch: pytest.MonkeyPatch, screen: Screen, line: str) -> None:
    """An answer or an event ends the wait for it as it comes, not some time after."""
    monkeypatch.setattr(threads, "_SLICE", 30)
    stage = FakeRun(screen, timeout=30)

    def come() -> None:
        stage.session.event(CHANGED)
        for request in stage.data.given:
            request.set_result(PENDING)

    timer = threading.Timer(0.02, come)
    timer.start()
    began = time.monotonic()
    stage.session.run(line)
    assert time.monotonic() - began < 15
    timer.join()


def test_wait_for_an_event_to_come(stage: FakeRun) -> None:
    """``wait`` ends as soon as the event comes, and not for another one."""

    def publish() -> None:
        stage.session.event(CHANGED)
        stage.session.event(NEXT)

    timer = threading.Timer(0.02, publish)
    timer.start()
    stage.session.run("wait NextJobExecutionChangedEvent 10")
    assert titles(stage.screen.stdout) == ["JobExecutionsChangedEvent", "NextJobExecutionChangedEvent"]
    timer.join()


def test_wait_in_vain(impatient: FakeRun) -> None:
    """An event that does not come is a failure that names the permission which would explain it."""
    impatient.session.event(NEXT)
    with pytest.raises(RequestFailed, match=r"no JobExecutionsChangedEvent within 0\.01 s") as caught:
        impatient.session.run("wait JobExecutionsChangedEvent 0.01")
    assert caught.value.cause.endswith("iot:Receive on topic/$aws/things/T/jobs/notify")
    impatient.session.wait(0, NEXT.title)
    with pytest.raises(RequestFailed) as caught:
        impatient.session.wait(0, NEXT.title)
    assert caught.value.cause.endswith("iot:Receive on topic/$aws/things/T/jobs/notify-next")


def test_wait_without_a_timeout(impatient: FakeRun) -> None:
    """Without a timeout of its own, ``wait`` waits as long as a request may take."""
    with pytest.raises(RequestFailed, match="within 0 s"):
        impatient.session.run("wait JobExecutionsChangedEvent")


def test_wait_for_seconds(stage: FakeRun) -> None:
    """Waiting some seconds never fails, and no event ends it."""
    stage.session.event(CHANGED)
    began = time.monotonic()
    stage.session.run("wait 0.05")
    assert time.monotonic() - began >= 0.05
    stage.session.run("wait JobExecutionsChangedEvent 0")


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("create-job Job1 {}", False),
        ("update-job-execution Job1 FAILED", False),
        ("delete-job Job1", True),
        ("start-next-pending-job-execution", True),
        ("get-pending-job-executions", True),
        ("help", True),
    ],
)
def test_events_before_a_change(stage: FakeRun, line: str, counts: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An event from before the last command that raises events is not one that this command raised."""
    stage.data.outcome = PENDING
    stage.session.event(CHANGED)
    stage.session.run(line)
    if counts:
        stage.session.run("wait JobExecutionsChangedEvent 0")
    else:
        with pytest.raises(RequestFailed):
            stage.session.run("wait JobExecutionsChangedEvent 0")


def test_unreadable_event_ends_no_wait(impatient: FakeRun) -> None:
    """An event that is not what the service documents is shown, and is not the one waited for."""
    impatient.session.event(Block("JobExecutionsChangedEvent", None, b"?", "not what AWS IoT Jobs documents"))
    assert "\n?\n" in impatient.screen.stdout
    with pytest.raises(RequestFailed):
        impatient.session.run("wait JobExecutionsChangedEvent 0")


# What the data plane tells


@pytest.fixture
def changes(stage: FakeRun) -> list[str]:
    """The states seen at each change."""
    seen: list[str] = []
    stage.session.on_change = lambda: seen.append(stage.session.state)
    return seen


def test_event(stage: FakeRun, changes: list[str]) -> None:
    """An event is learnt from, shown, and a change."""
    stage.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "J"}]}}))
    assert stage.session.executions.counts() == (1, 0)
    assert titles(stage.screen.stdout) == ["JobExecutionsChangedEvent"]
    assert changes == ["connecting"]


def test_connection(stage: FakeRun, changes: list[str]) -> None:
    """The state of the connection is kept, with the time it began; a message is told, an empty one is not."""
    stage.session.connection("connected", "")
    began = stage.session.since
    stage.session.connection("reconnecting", "connection lost: x")
    stage.session.connection("connected", "reconnected after 1 s")
    assert stage.session.since >= began
    assert changes == ["connected", "reconnecting", "connected"]
    assert stage.screen.stderr == "connection lost: x\nreconnected after 1 s\n"


def test_connection_kinds(screen: Screen) -> None:
    """A loss is a warning, a reconnect a notice."""
    stage = FakeRun(Screen("json"))
    stage.session.connection("reconnecting", "lost")
    stage.session.connection("connected", "back")
    stage.session.warning("careful")
    kinds = [json.loads(line)["type"] for line in stage.screen.stderr.splitlines()]
    assert kinds == ["Warning", "Notice", "Warning"]
    stage.screen.console.close()


def test_caught_up(stage: FakeRun, changes: list[str]) -> None:
    """After a reconnect, what changed meanwhile is shown, marked as such, and learnt."""
    stage.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"IN_PROGRESS": [{"jobId": "Gone"}]}}))
    stage.session.caught_up(PENDING)
    header, note, body = stage.screen.stdout.split("\n\n")[1].split("\n", 2)
    assert header.startswith("─── MissedChanges ──")
    assert note == "(while the connection was down)"
    expected = {"Gone": {"was": "IN_PROGRESS", "now": None}, "Job1": {"was": None, "now": "QUEUED"}}
    assert json.loads(body) == {"jobs": expected}
    assert stage.session.executions.counts() == (1, 0)
    assert len(changes) == 2


def test_caught_up_without_changes(stage: FakeRun, changes: list[str]) -> None:
    """Without changes it stays silent."""
    stage.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    before = stage.screen.stdout
    stage.session.caught_up(PENDING)
    assert stage.screen.stdout == before
    assert len(changes) == 2


def test_caught_up_from_nothing(stage: FakeRun) -> None:
    """When nothing was known before, the note admits that the changes may be older."""
    stage.session.caught_up(PENDING)
    assert "(while the connection was down, or before: nothing was known of them)" in stage.screen.stdout


def test_learn_pending(stage: FakeRun, changes: list[str]) -> None:
    """The pending executions can be asked for without a word."""
    stage.data.outcome = PENDING
    stage.session.learn_pending()
    assert stage.session.executions.counts() == (1, 0)
    assert changes == ["connecting"]
    assert stage.screen.stdout == ""


def test_learn_pending_in_vain(stage: FakeRun, changes: list[str]) -> None:
    """When that fails, it is not worth a word either."""
    stage.data.outcome = RequestFailed("no")
    stage.session.learn_pending()
    assert stage.session.executions.counts() is None
    assert (changes, stage.screen.stdout, stage.screen.stderr) == ([], "", "")


# Scripts


def script(stage: FakeRun, *lines: bytes) -> bool:
    return run_script(stage.session, stage.screen.console, iter(lines))


def test_script(stage: FakeRun) -> None:
    """A script runs line by line, blank lines and comments passed over; it succeeds when every command does."""
    stage.data.outcome = PENDING
    lines = [
        b"# first\n",
        b"\n",
        b"  # indented\n",
        b"get-pending-job-executions\r\n",
        b"  \n",
        b"describe-job-execution Job1",
    ]
    assert script(stage, *lines)
    assert stage.data.calls == [("get_pending_job_executions",), ("describe_job_execution", "Job1")]
    assert stage.screen.stderr == ""


def test_script_failures(stage: FakeRun) -> None:
    """A failed command is told with its line number, and the rest goes on; the script has then failed."""
    stage.data.outcome = PENDING
    assert not script(stage, b"# c\n", b"frob\n", b"get-pending-job-executions\n", b"delete-job a/b\n")
    assert stage.screen.stderr.splitlines() == [
        "line 2: unknown command 'frob'.",
        "  next: help lists them all.",
        "line 4: 'a/b' is not a job id: 1 to 64 letters, digits, - and _.",
        "  next: usage: delete-job <jobId>",
    ]
    assert titles(stage.screen.stdout) == ["GetPendingJobExecutionsResponse"]


def test_script_rejection(stage: FakeRun) -> None:
    """A rejected request fails a script, its block shown and its line told."""
    stage.data.outcome = Rejected({"code": "InvalidRequest", "message": "no"}, b"")
    assert not script(stage, b"update-job-execution Job1 CANCELED\n")
    assert "Service Request Rejected" in stage.screen.stdout
    assert stage.screen.stderr == "line 1: the service rejected the request: InvalidRequest: no\n"


def test_script_in_json() -> None:
    """In JSON, an error names line and command as fields."""
    stage = FakeRun(Screen("json"))
    assert not script(stage, b"\n", b"frob " + b"x" * 100 + b"\n")
    error = json.loads(stage.screen.stderr)
    assert (error["type"], error["line"], error["command"]) == ("Error", 2, "frob " + "x" * 75)
    stage.screen.console.close()


def test_script_quits(stage: FakeRun) -> None:
    """``quit`` ends a script; what failed before still counts."""
    assert script(stage, b"help\n", b"quit\n", b"frob\n")
    assert stage.screen.stderr == ""
    assert not script(stage, b"frob\n", b"quit\n")


@pytest.mark.parametrize(
    "line", [b'create-job Job1 {"a":"\xff"}\n', b"delete-job J\xff\n", b"\xff\xfe\n", b"delete-job J\x00\n"]
)
def test_script_with_bad_text(stage: FakeRun, line: bytes) -> None:
    """A line that is not UTF-8 is a mistake like any other; nothing of it is sent."""
    assert not script(stage, line)
    assert stage.screen.stderr.startswith("line 1: ")
    assert (stage.control.calls, stage.data.calls) == ([], [])


def test_script_beyond_ascii(stage: FakeRun) -> None:
    """A script is UTF-8, its documents sent byte for byte."""
    assert script(stage, 'create-job Job1 {"é":  "日本"}  \r\n'.encode())
    assert stage.control.calls == [("create_job", "Job1", '{"é":  "日本"}  ')]


def test_script_order(stage: FakeRun) -> None:
    """Each result is written before the next command runs."""
    written: list[list[str]] = []

    class Watched(FakeData):
        def get_pending_job_executions(self) -> Any:
            written.append(titles(stage.screen.out.getvalue()))
            return pending(PENDING)

    stage.session.data = Watched()
    assert script(stage, *[b"get-pending-job-executions\n"] * 3)
    assert written == [[PENDING.title] * number for number in range(3)]


def test_script_whose_reader_has_gone() -> None:
    """When nobody reads the results any more, no further command runs."""
    screen = Screen()
    screen.console._stdout = Gone()
    stage = FakeRun(screen)
    stage.data.outcome = PENDING
    assert script(stage, *[b"get-pending-job-executions\n"] * 3)
    assert len(stage.data.calls) == 1
    screen.console.close()


# Anything at all

words = st.sampled_from(
    [*COMMANDS, "Job1", "$next", "a/b", "+", "#", "get", "FAILED", "failed", "{}", "file://", "[" * 2000, "0"]
)
lines = st.lists(words | st.text(st.characters(codec=None), max_size=70), max_size=4).map(" ".join)
outcomes = st.sampled_from([PENDING, Rejected(None, b"\xff"), RequestFailed("x", uncertain=True)])


@given(lines, outcomes)
def test_any_line(line: str, outcome: Outcome) -> None:
    """Whatever the line, only legal job ids reach a plane, and only errors that are told reach the prompt."""
    stage = FakeRun(Screen(), timeout=0)
    stage.data.outcome = outcome
    if isinstance(outcome, Exception):
        stage.control.outcome = failing(outcome)
    try:
        stage.session.run(line)
    except (SandboxError, Quit):
        pass
    finally:
        stage.screen.console.close()
    legal = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    for operation, *arguments in stage.data.calls + stage.control.calls:
        job_id = arguments[0] if arguments else "none"
        is_next = (operation, job_id) == ("describe_job_execution", "$next")
        assert is_next or (set(job_id) <= legal and 1 <= len(job_id) <= 64)
        if operation == "update_job_execution":
            assert arguments[1] in ("SUCCEEDED", "IN_PROGRESS", "FAILED", "CANCELED")
        if operation == "create_job":
            json.loads(arguments[1])


def test_deep_document_in_a_script(stage: FakeRun) -> None:
    """A document nested 20,000 deep is one message, and the script goes on."""
    assert not script(stage, b"create-job J " + b"[" * 20_000 + b"\n", b"help\n")
    assert stage.screen.stderr.splitlines()[0] == (
        "line 1: the job document is not JSON that can be used: nested more than 100 levels deep."
    )
    assert titles(stage.screen.stdout) == ["Help"]
