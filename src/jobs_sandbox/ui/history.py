"""The lines of earlier sessions: a private file without secrets. With `repl` the only importer of prompt_toolkit."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from prompt_toolkit.history import History, InMemoryHistory

from jobs_sandbox.commands.lines import logical_lines

LOADED = 256 * 1024
"""So many bytes from the end of the file are offered; the file may be longer."""
# A line that carries one of these is not kept, whoever pasted it.
_SECRET = re.compile(
    r"PRIVATE KEY-----|secret[_-]?(access[_-]?)?key|session[_-]?token|passw(or)?d|\b(AKIA|ASIA)[A-Z0-9]{16}",
    re.IGNORECASE,
)


def history_path() -> Path:
    """Where the history is kept: the state folder of the XDG Base Directory Specification.

    Raises:
        RuntimeError: there is no home directory.

    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (
        (state if state.is_absolute() else Path.home() / ".local" / "state")
        / "jobs-sandbox"
        / "history"
    )


def open_history(warn: Callable[[str], None]) -> History:
    """The lines of earlier sessions, private to the user; without them, and a word of why, if that cannot be.

    A link to ``/dev/null``, which is how people switch a history off, needs no word.
    """
    try:
        path = history_path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and not path.is_file() and not path.is_dir():
            return InMemoryHistory()
        if path.is_symlink():
            raise OSError(f"{path} is a link")
        with _open(path) as file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                os.fchmod(file.fileno(), 0o600)
    except (OSError, RuntimeError) as error:
        warn(f"no history is kept: {error}")
        return InMemoryHistory()
    return _PrivateHistory(path, warn)


class _PrivateHistory(History):
    """A history that survives a full disk, and into which neither secrets nor lines after a space go.

    The file is in the format of prompt_toolkit's ``FileHistory``: a comment with the time, and each line after a ``+``.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        super().__init__()
        self._path = path
        self._warn: Callable[[str], None] | None = warn

    def load_history_strings(self) -> Iterator[str]:
        try:
            with _open(self._path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOADED))
                text = file.read(LOADED).decode("utf-8", "replace")
        except OSError as error:
            self._report("read", error)
            return
        if size > LOADED:  # the first entry may be cut
            text = text.partition("\n#")[2]
        entries = re.findall(r"(?:^\+.*\n)+", text, re.MULTILINE)
        for entry in reversed(entries):
            yield entry[1:-1].replace("\n+", "\n")

    def append_string(self, string: str) -> None:
        unwanted = any(line.startswith(" ") for line in logical_lines(string)) or _SECRET.search(
            string
        )
        if not unwanted:
            super().append_string(string)

    def store_string(self, string: str) -> None:
        lines = string.replace("\n", "\n+")
        data = f"\n# {datetime.now()}\n+{lines}\n".encode("utf-8", "replace")  # noqa: DTZ005 - a note for its reader
        try:
            with _open(self._path) as file:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._report("written", error)

    def _report(self, verb: str, error: OSError) -> None:
        if self._warn:
            self._warn(f"the history can no longer be {verb}: {error.strerror or error}")
        self._warn = None


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """The file, made if it is not there; no link is followed, and no pipe or device waited for."""
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with open(path, "ab+", buffering=0, opener=lambda name, _: os.open(name, flags, 0o600)) as file:
        yield file
