"""The folder of an embedded AWS IoT is private, and abandoned ones are removed, but no others."""

import os
from pathlib import Path

import pytest

from jobs_sandbox.local import folder as room
from jobs_sandbox.local.folder import locked_folder


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def abandoned(temporary: Path, name: str = "jobs-sandbox-old") -> Path:
    """A folder as a process leaves it that was killed."""
    folder = temporary / name
    folder.mkdir()
    (folder / "lock").touch()
    (folder / "private.key").write_text("secret")
    return folder


def test_it_is_private_and_removed(temporary: Path) -> None:
    """Nobody else can enter it, and in the end it is gone with all that is in it."""
    with locked_folder() as (folder, _):
        assert folder.parent == temporary
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "private.key").write_text("secret")
    assert not folder.exists()


def test_an_abandoned_folder_is_removed(temporary: Path) -> None:
    """A folder whose lock nobody holds is removed at the next start."""
    old = abandoned(temporary)
    with locked_folder():
        assert not old.exists()


def test_a_folder_in_use_stays() -> None:
    """A folder whose lock is held stays, whoever starts beside it."""
    with locked_folder() as (first, _), locked_folder() as (second, _):
        assert first.exists()
        assert second.exists()


def test_what_is_not_ours_stays(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other names, folders without a lock, links, files and other users' folders are left alone."""
    other = abandoned(temporary, "someone-elses")
    (temporary / "jobs-sandbox-unlocked").mkdir()
    (temporary / "jobs-sandbox-file").touch()
    (temporary / "jobs-sandbox-link").symlink_to(other)
    left = sorted(temporary.iterdir())
    with locked_folder():
        pass
    assert sorted(temporary.iterdir()) == left

    foreign = abandoned(temporary)
    monkeypatch.setattr(os, "getuid", lambda: foreign.stat().st_uid + 1)
    with locked_folder():
        assert foreign.exists()


def test_a_lock_file_that_is_a_link_is_not_followed(temporary: Path) -> None:
    """A link in the place of the lock does not make a folder an abandoned one."""
    old = abandoned(temporary)
    (old / "lock").unlink()
    (old / "lock").symlink_to(old / "private.key")
    with locked_folder():
        assert old.exists()


def test_a_file_system_without_locks(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be locked it works all the same, and nothing is taken for abandoned."""

    def no_locks(*_: object) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    old = abandoned(temporary)
    with locked_folder() as (folder, _):
        assert old.exists()
        assert not (folder / "lock").exists()
    assert not folder.exists()


def test_an_entry_that_goes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another start removes in this moment is no error."""

    class Gone:
        name = path = "jobs-sandbox-gone"

        def is_dir(self, **_: object) -> bool:
            raise FileNotFoundError

    assert not room._is_ours(Gone())  # type: ignore[arg-type]
    monkeypatch.setattr(room, "_is_ours", lambda _: True)
    with locked_folder() as (folder, _):
        assert folder.exists()
