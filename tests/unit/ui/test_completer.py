"""Completion and colours while a line is typed."""

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from jobs_sandbox.core.blocks import CREATE_JOB, Block
from jobs_sandbox.session.executions import Executions
from jobs_sandbox.ui.completer import CommandCompleter, DocumentLexer

TYPED = CompleteEvent(text_inserted=True)
REQUESTED = CompleteEvent(completion_requested=True)


def completions(text: str, event: CompleteEvent = TYPED) -> list[tuple[str, int, str]]:
    executions = Executions()
    executions.record(Block(CREATE_JOB, {}), "Job1")
    found = CommandCompleter(executions).get_completions(Document(text), event)
    return [(each.text, each.start_position, each.display_meta_text) for each in found]


def test_commands_and_job_ids() -> None:
    """The command table's completions replace the begun word, and show their hints."""
    assert completions("delete-job jo") == [("Job1", -2, "not known")]


def test_an_empty_line() -> None:
    """An empty line opens no menu by itself, but Tab opens it."""
    assert completions(" ") == []
    assert ("help", 0) in [found[:2] for found in completions("", REQUESTED)]


@pytest.mark.parametrize("begin", ["create-job New file://", "  create-job  New  file://"])
def test_file_names(tmp_path: Path, begin: str) -> None:
    """File names are completed after ``file://``."""
    (tmp_path / "document.json").touch()
    assert completions(f"{begin}{tmp_path}/doc")[0][0] == "ument.json"


def test_colours() -> None:
    """The JSON in a line is coloured, and nothing of the line changes."""
    text = 'create-job J {"a":\n [1, true]}'
    get_line = DocumentLexer().lex_document(Document(text))
    lines = [get_line(0), get_line(1)]
    assert ["".join(part[1] for part in line) for line in lines] == text.split("\n")
    colours = {part[1]: part[0] for line in lines for part in line if part[0]}
    assert colours == {'"a"': "fg:ansiblue", "1": "fg:ansicyan", "true": "fg:ansimagenta"}
    assert get_line(2) == []


@pytest.mark.parametrize("text", ["help", f'create-job J ["{"x" * 2**15}"]'])
def test_no_colours(text: str) -> None:
    """A line without a document, or with a huge one, is not coloured at each key."""
    assert DocumentLexer().lex_document(Document(text))(0) == [("", text)]
