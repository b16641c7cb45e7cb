"""What helps while one types."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory

from jobs_sandbox.session.executions import Executions
from jobs_sandbox.ui.completer import DocumentLexer, Suggestions, TableCompleter


def test_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Completions are the command table's, which replace what they complete and show their meaning."""
    asked: list[tuple[str, dict[str, str]]] = []

    def complete(text: str, executions: dict[str, str]) -> Iterator[tuple[str, str, int]]:
        asked.append((text, executions))
        yield "Job1", "QUEUED", 2

    monkeypatch.setattr("jobs_sandbox.ui.completer.complete", complete)
    executions = Executions()
    text = "delete-job jo and more"
    [found] = TableCompleter(executions).get_completions(
        Document(text, len("delete-job jo")), CompleteEvent()
    )
    assert (found.text, found.start_position, found.display_meta_text) == ("Job1", -2, "QUEUED")
    assert asked == [("delete-job jo", executions.job_ids())]


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


@pytest.mark.parametrize(("longer", "has_colours"), [(0, True), (1, False)])
def test_a_document_that_nobody_takes(longer: int, has_colours: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A document beyond the limit of AWS IoT, such as a huge paste, has no colours, for which every key would wait."""
    text = f'create-job J ["{"x" * (2**15 - 4 + longer)}"]'
    parts = DocumentLexer().lex_document(Document(text))(0)
    assert "".join(part[1] for part in parts) == text
    assert any(part[0] for part in parts) is has_colours


def suggestion(text: str, failed: set[str]) -> str | None:
    """What is suggested after a text, with three lines in the history."""
    history = InMemoryHistory(["help expect", "help quit", "create-job J {\n}"])
    list(history.load_history_strings())
    buffer = Buffer(history=history)
    for line in ("help expect", "help quit", "create-job J {\n}"):
        history.append_string(line)
    suggestions = Suggestions()
    suggestions.failed = failed
    found = suggestions.get_suggestion(buffer, Document(text))
    return found.text if found else None


def test_suggestions() -> None:
    """The rest of the last line that begins like what is typed is suggested, and nothing for an empty line."""
    assert suggestion("help ", set()) == "quit"
    assert suggestion("create-job J {\n", set()) is None
    assert suggestion("", set()) is None
    assert suggestion("wait", set()) is None


def test_failed_lines_are_not_suggested() -> None:
    """A line that failed is passed over."""
    assert suggestion("help ", {"help quit"}) == "expect"
    assert suggestion("help ", {"help quit", "help expect"}) is None
