"""The lines of earlier sessions, in a file private to the user and without secrets."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_state_path
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

# A line that contains one of these is not kept.
_SECRET = re.compile(
    r"PRIVATE KEY-----|secret[_-]?(access[_-]?)?key|session[_-]?token|passw(or)?d"
    r"|\b(AKIA|ASIA)[A-Z0-9]{16}",
    re.IGNORECASE,
)


def open_history(warn: Callable[[str], None]) -> History:
    """The lines of earlier sessions; ``warn`` gets the reason if none can be kept.

    They are in the user's state folder, ``~/.local/state/jobs-sandbox/history`` on Linux.
    """
    path = user_state_path("jobs-sandbox") / "history"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError as error:
        warn(f"no history is kept: {error}")
        return InMemoryHistory()
    return _PrivateHistory(path, warn)


class _PrivateHistory(FileHistory):
    """A history that keeps neither secrets nor lines that begin with a blank."""

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        super().__init__(path)
        self._warn = warn
        self._has_warned = False

    def append_string(self, string: str) -> None:
        if not string.startswith(" ") and not _SECRET.search(string):
            super().append_string(string)

    def store_string(self, string: str) -> None:
        try:
            # Older versions of prompt_toolkit fail on bytes that are not UTF-8.
            super().store_string(string.encode(errors="replace").decode())
        except OSError as error:  # a full disk, for example
            if not self._has_warned:
                self._warn(f"the history can no longer be written: {error.strerror or error}")
            self._has_warned = True
