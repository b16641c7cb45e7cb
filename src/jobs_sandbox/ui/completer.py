"""Help while typing: completion and colours."""

import re
from collections.abc import Callable, Iterator

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import split_lines
from prompt_toolkit.lexers import Lexer

from jobs_sandbox.commands.completion import complete
from jobs_sandbox.commands.documents import FILE
from jobs_sandbox.core.jobs import DOCUMENT_LIMIT
from jobs_sandbox.session.executions import Executions
from jobs_sandbox.ui.colours import json_parts

_FILE_NAME = re.compile(rf"\s*create-job\s+\S+\s+{FILE}(.*)")


class CommandCompleter(Completer):
    """Completes commands and their arguments, and file names after ``file://``."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._paths = PathCompleter(expanduser=True)

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """The completions at the cursor."""
        text = document.text_before_cursor
        if complete_event.text_inserted and not text.strip():
            return  # prompt_toolkit asks again after Enter has cleared the line
        if found := _FILE_NAME.match(text):
            yield from self._paths.get_completions(Document(found[1]), complete_event)
            return
        for candidate, hint, replaced in complete(text, self._executions.statuses()):
            yield Completion(candidate, -replaced, display_meta=hint)


class DocumentLexer(Lexer):
    """Colours the JSON in the line that is typed."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The styled parts of each line."""
        text = document.text
        found = re.search(r"[{[]", text)
        begin = found.start() if found else len(text)
        if len(text) - begin > DOCUMENT_LIMIT:  # too slow to do at each key
            begin = len(text)
        parts = [
            (f"fg:ansi{colour}" if colour else "", part)
            for colour, part in json_parts(text[begin:])
        ]
        lines = list(split_lines([("", text[:begin]), *parts]))
        return lambda number: lines[number] if number < len(lines) else []
