"""The folder of an embedded AWS IoT, with the device's private key in it: removed even after a `kill -9`.

Whoever uses a folder holds a lock on a file in it, which the system releases however its holder ends. A folder whose
lock can be taken is nobody's any more, and is removed at the next start.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = "jobs-sandbox-"
_LOCK = "lock"


@contextmanager
def locked_folder() -> Iterator[tuple[Path, int]]:
    """A new folder that only this user can enter, and the descriptor that holds its lock; removed in the end.

    A process that inherits the descriptor holds the lock as well.
    """
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        # Named only once it is locked: a lock file that can be locked is always an abandoned one.
        lock = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with suppress(
                OSError
            ):  # a file system without locks: nothing is ever taken for abandoned there
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / "new").rename(folder / _LOCK)
            yield folder, lock
        finally:
            os.close(lock)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned() -> None:
    with os.scandir(tempfile.gettempdir()) as entries:
        folders = [
            entry.path for entry in entries if entry.name.startswith(_PREFIX) and _is_ours(entry)
        ]
    for folder in folders:
        with suppress(
            OSError
        ):  # in use, without a lock, or removed by another start in this moment
            lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _is_ours(entry: "os.DirEntry[str]") -> bool:
    with suppress(OSError):  # removed in this moment
        return (
            entry.is_dir(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_uid == os.getuid()
        )
    return False
