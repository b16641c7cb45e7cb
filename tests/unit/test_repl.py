"""The prompt: what it runs, what it keeps, and how others write above it."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from jobs_sandbox.app import Terminated
from jobs_sandbox.blocks import Block
from jobs_sandbox.errors import Rejected
from jobs_sandbox.executions import Executions
from jobs_sandbox.repl import Repl, _Painter, _TableCompleter, run_repl
from jobs_sandbox.settings import Settings
from tests.unit.fakes import FakeRun

SETTINGS = Settings("host", "cert", "key", "us-east-1", "Lamp", "test-1")


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeInput]:
    """A keyboard; the terminal behind it is a pseudo-terminal, the history is the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    master, slave = os.openpty()
    with (
        os.fdopen(master),
        os.fdopen(slave) as stdin,
        create_pipe_input() as keyboard,
        create_app_session(input=keyboard, output=DummyOutput()),
    ):
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard


def test_runs_lines_until_quit(keys: PipeInput, stage: FakeRun) -> None:
    """Each line is run; quit leaves; the executions are asked for once, for the toolbar."""
    keys.send_text("describe-job-execution Job1\rquit\r")
    stage.data.outcome = Block("DescribeJobExecutionResponse", {"execution": {"jobId": "Job1"}})
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert stage.data.calls == [("get_pending_job_executions",), ("describe_job_execution", "Job1")]
    assert "DescribeJobExecutionResponse" in stage.screen.stdout


def test_end_of_input_leaves(keys: PipeInput, stage: FakeRun) -> None:
    """Ctrl-D on an empty line leaves."""
    keys.send_text("\x04")
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert stage.screen.stderr == ""


def test_interrupt_drops_the_line(keys: PipeInput, stage: FakeRun) -> None:
    """Ctrl-C at the prompt drops what was typed."""
    keys.send_text("nonsense\x03quit\r")
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert stage.screen.stderr == ""


def test_a_signal_ends_the_prompt(keys: PipeInput, stage: FakeRun) -> None:
    """What a signal's handler raises, in whatever callback it happens to run, ends the prompt."""
    repl = Repl(stage.session, stage.screen.console, SETTINGS)

    def handler() -> None:
        raise Terminated(15)

    def send() -> None:
        repl._prompt.app.loop.call_soon_threadsafe(handler)  # type: ignore[union-attr]

    with pytest.raises(Terminated):
        repl._prompt.prompt(pre_run=send)


def test_errors_are_told_once(keys: PipeInput, stage: FakeRun) -> None:
    """A mistake is told; a rejection is its own block and nothing more; the prompt goes on."""
    stage.data.outcome = Rejected({"code": "ResourceNotFound", "message": "gone"}, b"")
    keys.send_text("nonsense\rdescribe-job-execution Job1\rquit\r")
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert "unknown command 'nonsense'" in stage.screen.stderr
    assert "ResourceNotFound" in stage.screen.stdout
    assert "ResourceNotFound" not in stage.screen.stderr


def test_interrupt_stops_waiting(keys: PipeInput, stage: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a command waits, or while its output is written, gives the prompt back."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for owner, name in ((stage.session, "run"), (stage.screen.console, "flush")):
        calls = iter([interrupted])
        real = getattr(owner, name)

        def once(*given: object, calls: Any = calls, real: Any = real) -> None:
            next(calls, real)(*given)

        monkeypatch.setattr(owner, name, once)
    keys.send_text("help\rquit\r")
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert "Help" not in stage.screen.stdout


def test_an_event_as_the_prompt_ends(keys: PipeInput, stage: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event in the moment in which the prompt ends does no harm to the thread that brings it."""
    repl = Repl(stage.session, stage.screen.console, SETTINGS)

    def too_late() -> None:
        raise RuntimeError("no running event loop")

    monkeypatch.setattr(repl._prompt.app, "invalidate", too_late)
    repl._redraw()


def test_dumb_terminals_have_a_prompt_too(
    keys: PipeInput, stage: FakeRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a dumb terminal the prompt is plain text."""
    monkeypatch.setenv("TERM", "dumb")
    keys.send_text("quit\r")
    run_repl(stage.session, stage.screen.console, SETTINGS)
    assert capsys.readouterr().out.startswith("jobs-sandbox> quit")


def test_toolbar(keys: PipeInput, stage: FakeRun) -> None:
    """The toolbar tells state, counts, thing and endpoint; while reconnecting, for how long."""
    repl = Repl(stage.session, stage.screen.console, SETTINGS)
    stage.session.connection("connected", "")
    assert repl._toolbar() == " connected │ ? queued, ? in progress │ Lamp │ host:8883"
    stage.session.event(Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": "Job1"}]}}))
    stage.session.connection("reconnecting", "lost")
    stage.session.since = time.monotonic() - 12.4
    assert repl._toolbar() == " reconnecting for 12 s │ 1 queued, 0 in progress │ Lamp │ host:8883"
    stage.session.event(
        Block("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [{"jobId": f"J{n}"} for n in range(10)]}})
    )
    assert " │ 10+ queued, 0 in progress │ " in repl._toolbar()


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions are the command table's, which replace what they complete and show their meaning."""
    asked: list[tuple[str, Executions]] = []

    def complete(text: str, executions: Executions) -> Iterator[tuple[str, str, int]]:
        asked.append((text, executions))
        yield "Job1", "QUEUED", 2

    monkeypatch.setattr("jobs_sandbox.repl.complete", complete)
    executions = Executions()
    [found] = _TableCompleter(executions).get_completions(Document("delete-job jo"), CompleteEvent())
    assert (found.text, found.start_position, found.display_meta_text) == ("Job1", -2, "QUEUED")
    assert asked == [("delete-job jo", executions)]


def test_completion_of_file_names(tmp_path: Path) -> None:
    """After ``file://`` the names of files are completed."""
    (tmp_path / "document.json").touch()
    text = f"create-job New file://{tmp_path}/doc"
    [completion] = _TableCompleter(Executions()).get_completions(Document(text), CompleteEvent())
    assert completion.text == "ument.json"


def painter_of(**app: Any) -> _Painter:
    prompt: Any = SimpleNamespace(app=SimpleNamespace(**app), default_buffer=SimpleNamespace(text="typed"))
    return _Painter(prompt)


def test_painter_without_a_prompt() -> None:
    """While no prompt is shown, the writer writes at once."""
    wrote: list[str] = []
    painter_of(is_running=False, loop=None)(lambda: wrote.append("block"))
    assert wrote == ["block"]


def test_painter_with_a_prompt(keys: PipeInput, stage: FakeRun) -> None:
    """While a prompt is shown, its own thread writes, and the writer's error comes back to the writer."""
    repl = Repl(stage.session, stage.screen.console, SETTINGS)
    painter = _Painter(repl._prompt)
    threads: list[threading.Thread] = []
    errors: list[OSError] = []

    def write() -> None:
        threads.append(threading.current_thread())
        raise OSError("the terminal is gone")

    def other_thread() -> None:
        try:
            painter(write)
        except OSError as error:
            errors.append(error)
        keys.send_text("done\r")

    writer = threading.Thread(target=other_thread)
    assert repl._prompt.prompt(pre_run=writer.start) == "done"
    writer.join()
    assert threads == [threading.main_thread()]
    assert str(errors[0]) == "the terminal is gone"


def test_painter_when_the_prompt_ends_meanwhile() -> None:
    """A block that the prompt no longer takes is written all the same, once."""
    wrote: list[str] = []
    closed = asyncio.new_event_loop()
    closed.close()
    painter_of(is_running=True, loop=closed)(lambda: wrote.append("first"))

    unattended = asyncio.new_event_loop()  # takes callbacks, and never runs them
    app: dict[str, Any] = {"is_running": True, "loop": unattended}
    painter = painter_of(**app)
    ended: Callable[[], None] = lambda: setattr(painter._prompt.app, "loop", None)  # noqa: E731
    timer = threading.Timer(0.15, ended)
    timer.start()
    painter(lambda: wrote.append("second"))
    timer.join()
    unattended.close()
    assert wrote == ["first", "second"]


def test_painter_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A dumb terminal gets the block below what is typed, and then the prompt again."""
    monkeypatch.setenv("TERM", "dumb")
    painter = painter_of(is_running=False, loop=None)
    with painter.prompting():
        painter(lambda: sys.stdout.writelines(["block\n"]))
    assert capsys.readouterr().out == "\nblock\njobs-sandbox> typed"
