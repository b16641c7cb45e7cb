"""What helps while one types: completion and colour. Knows the command table, and prompt_toolkit's interfaces."""

import re
from collections.abc import Callable, Iterator

from prompt_toolkit.auto_suggest import AutoSuggest, Suggestion
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import split_lines
from prompt_toolkit.lexers import Lexer

from jobs_sandbox.commands.completion import complete
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT as LIMIT
from jobs_sandbox.session.executions import Executions
from jobs_sandbox.ui.colours import json_parts

_FILE = "file://"


class TableCompleter(Completer):
    """Completions from the command table, and file names after ``file://``."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """What may stand at the cursor."""
        text = document.text_before_cursor
        if is_file := re.match(rf"\s*create-job\s+\S+\s+{_FILE}(.*)", text):
            yield from self._paths.get_completions(Document(is_file[1]), complete_event)
            return
        for candidate, meaning, replaced in complete(text, self._executions.job_ids()):
            yield Completion(candidate, -replaced, display_meta=meaning)


class Suggestions(AutoSuggest):
    """The rest of the last line that began like what is typed, but for lines that failed in this session."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def get_suggestion(self, buffer: Buffer, document: Document) -> Suggestion | None:
        """What may follow what is typed."""
        text = document.text
        if not text.strip() or "\n" in text:
            return None
        for line in reversed(buffer.history.get_strings()):
            if line.startswith(text) and line not in self.failed:
                return Suggestion(line[len(text) :])
        return None


class DocumentLexer(Lexer):
    """Colours the JSON in a line that is being typed."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The styled parts of each line."""
        text = document.text
        begin = next(
            (index for index, character in enumerate(text) if character in "{["), len(text)
        )
        if (
            len(text) - begin > LIMIT
        ):  # no job document; Pygments takes seconds for a megabyte, and would at every key
            begin = len(text)
        parts = [
            (f"fg:ansi{colour}" if colour else "", part)
            for colour, part in json_parts(text[begin:])
        ]
        lines = list(split_lines([("", text[:begin]), *parts]))
        return lambda number: lines[number] if number < len(lines) else []
