"""What becomes of a line in an editor, and what is said when nothing does."""

import asyncio
import os
import subprocess
import threading
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.output import DummyOutput

from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.ui import editor as editor_module
from jobs_sandbox.ui.editor import edited
from tests.unit.fakes import TIMEOUT, until


@pytest.fixture
def as_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that is the editor; what it does is for the test to write."""
    path = tmp_path / "an editor"
    path.touch(0o700)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"'{path}' --wait")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return path


def script_of(editor: Path, text: str) -> None:
    """Say what the editor does."""
    editor.write_text(text)


async def result(text: str) -> str:
    """What is made of a text, where no prompt is drawn."""
    with create_app_session(output=DummyOutput()):
        async with asyncio.timeout(TIMEOUT):
            return await edited(text)


async def test_a_line_is_edited(as_editor: Path) -> None:
    """The editor gets the line, and its last line break is not the line's; nothing is left behind."""
    script_of(
        as_editor, """#!/bin/sh\ntest "$1" = --wait && printf ' {\\n "a": 1\\n}\\n' >> "$2"\n"""
    )
    assert await result("create-job Ä") == 'create-job Ä {\n "a": 1\n}'
    assert os.listdir(as_editor.parent) == [as_editor.name]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 3", "ended with exit status 3"),
        ("kill -9 $$", "ended with signal 9"),
        ('rm "$2"', r"the text cannot be read or written \(No such file or directory\)"),
        ("""printf '\\377' > "$2" """, "it left what is not UTF-8 text"),
    ],
)
async def test_an_editor_that_fails(as_editor: Path, script: str, told: str) -> None:
    """Whatever an editor does, the line stays, and one sentence says why."""
    script_of(as_editor, f"#!/bin/sh\n{script}\n")
    with pytest.raises(SandboxError, match=f"the line stays as it was: .*an editor.* {told}"):
        await result("help")
    assert os.listdir(as_editor.parent) == [as_editor.name]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "/no/such/editor",
            "the editor /no/such/editor cannot be started: No such file or directory",
        ),
        ("vi 'x", "is no editor's command: no closing quotation"),
        ("", "there is no editor: neither"),
    ],
)
async def test_no_editor(
    as_editor: Path, monkeypatch: pytest.MonkeyPatch, command: str, told: str
) -> None:
    """An editor that is not there is told, with what to do."""
    monkeypatch.setenv("EDITOR", command)
    monkeypatch.setenv("PATH", str(as_editor.parent))
    with pytest.raises(SandboxError, match=told) as caught:
        await result("help")
    assert caught.value.next_step == "set $EDITOR to an editor, and start again."


async def test_one_of_the_usual_editors(as_editor: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variables, an editor that is there is taken."""
    monkeypatch.delenv("EDITOR")
    monkeypatch.setattr(editor_module, "_USUAL", ("no-such-editor", "true"))
    assert await result("help") == "help"


async def test_an_editor_ends_with_us(as_editor: Path) -> None:
    """Who is cancelled meanwhile leaves neither the editor nor what was typed."""
    script_of(as_editor, '#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 60\n')
    task = asyncio.create_task(result("help"))
    pid = Path(f"{as_editor}.pid")
    await until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    task.cancel()
    await asyncio.wait({task})
    await until(lambda: _is_dead(pid))
    assert sorted(os.listdir(as_editor.parent)) == sorted([as_editor.name, pid.name])


async def test_who_is_cancelled_while_it_starts(
    as_editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor that runs before its start was told ends as well."""
    script_of(as_editor, '#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 60\n')
    cancelled, start = threading.Event(), subprocess.Popen

    def slow_start(command: list[str]) -> "subprocess.Popen[bytes]":
        process = start(command)
        cancelled.wait(TIMEOUT)
        return process

    monkeypatch.setattr(subprocess, "Popen", slow_start)
    task = asyncio.create_task(result("help"))
    pid = Path(f"{as_editor}.pid")
    await until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    task.cancel()
    await asyncio.wait({task})
    cancelled.set()
    await until(lambda: _is_dead(pid))


def _is_dead(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return True
    return False
