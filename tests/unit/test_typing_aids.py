"""What helps while one types."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from jobs_sandbox.executions import Executions
from jobs_sandbox.typing_aids import DocumentLexer, TableCompleter


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions are the command table's, which replace what they complete and show their meaning."""
    asked: list[tuple[str, Executions]] = []

    def complete(text: str, executions: Executions) -> Iterator[tuple[str, str, int]]:
        asked.append((text, executions))
        yield "Job1", "QUEUED", 2

    monkeypatch.setattr("jobs_sandbox.typing_aids.complete", complete)
    executions = Executions()
    text = "delete-job jo and more"
    [found] = TableCompleter(executions).get_completions(Document(text, len("delete-job jo")), CompleteEvent())
    assert (found.text, found.start_position, found.display_meta_text) == ("Job1", -2, "QUEUED")
    assert asked == [("delete-job jo", executions)]


@pytest.mark.parametrize("begin", ["create-job New file://", "  create-job  New  file://"])
def test_completion_of_file_names(tmp_path: Path, begin: str) -> None:
    """After ``file://`` the names of files are completed."""
    (tmp_path / "document.json").touch()
    text = f"{begin}{tmp_path}/doc"
    [completion] = TableCompleter(Executions()).get_completions(Document(text), CompleteEvent())
    assert completion.text == "ument.json"


def test_colours() -> None:
    """The JSON in a line is coloured, the rest is not, and nothing of it is changed."""
    text = 'create-job J {"a":\n [1, true]}'
    get_line = DocumentLexer().lex_document(Document(text))
    lines = [get_line(0), get_line(1)]
    assert ["".join(part[1] for part in line) for line in lines] == text.split("\n")
    coloured = {part[1]: part[0] for line in lines for part in line if part[0]}
    assert coloured == {'"a"': "fg:ansiblue", "1": "fg:ansicyan", "true": "fg:ansimagenta"}
    assert get_line(2) == []


def test_no_document() -> None:
    """A line without JSON has no colours."""
    assert DocumentLexer().lex_document(Document("help"))(0) == [("", "help")]
