"""The history: what is kept, where, and for whose eyes."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from prompt_toolkit.history import FileHistory, InMemoryHistory

from jobs_sandbox.ui.history import LOADED, history_path, open_history


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the history of this test is kept; nothing is there yet, and the user's own mask is generous."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "jobs-sandbox" / "history"


@pytest.fixture
def told() -> list[str]:
    """What the user was told."""
    return []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def loaded() -> list[str]:
    """The lines that a new session has, the latest first."""
    return list(open_history(print).load_history_strings())


def test_history_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is in the XDG state folder, if that is an absolute path."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert history_path() == Path("/state/jobs-sandbox/history")
    for unusable in ("relative", ""):
        monkeypatch.setenv("XDG_STATE_HOME", unusable)
        assert history_path() == Path("/home/me/.local/state/jobs-sandbox/history")


def test_lines_outlive_the_session(path: Path, told: list[str]) -> None:
    """What one session kept, the next one has, whatever is in it; prompt_toolkit's own class reads it as well."""
    lines = ["one", 'create-job J {\n+ "a": "é\U0001f389"\n}', "# two", "\ud800"]
    history = open_history(told.append)
    for line in lines:
        history.append_string(line)
    expected = [*lines[:3], "?"][::-1]
    assert loaded() == list(FileHistory(str(path)).load_history_strings()) == expected
    assert told == []


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_history_is_private(path: Path, mask: int) -> None:
    """Folder and file are the user's alone, whatever the user's mask."""
    before = os.umask(mask)
    try:
        open_history(print)
    finally:
        os.umask(before)
    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


def test_no_state_folder_yet(path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]) -> None:
    """The state folder itself is made as well, if it is not there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(path.parent / "a" / "b"))
    open_history(told.append)
    assert (told, mode(history_path().parent)) == ([], 0o700)


def test_a_history_of_another_hand(path: Path) -> None:
    """A file that begins at once with a line, or holds what is no text, is read."""
    path.parent.mkdir()
    path.write_bytes(b"+first\n\n# a comment\n+se\xffcond\n+line\n")
    assert loaded() == ["se\ufffdcond\nline", "first"]


def test_history_becomes_private(path: Path) -> None:
    """A file that others could read is the user's alone from now on."""
    path.parent.mkdir()
    path.touch()
    path.chmod(0o644)
    open_history(print)
    assert mode(path) == 0o600


def test_the_history_of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of a file that is another user's is left alone, as when root runs with that user's home."""
    path.parent.mkdir()
    path.touch()
    path.chmod(0o644)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    open_history(print)
    assert mode(path) == 0o644


@pytest.fixture(params=["a pipe", "a device"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Something that is no file, of which others depend on the mode: a stand-in for ``/dev/null``."""
    master, slave = os.openpty()
    place = Path(os.ttyname(slave))
    if request.param == "a pipe":
        place = tmp_path / "pipe"
        os.mkfifo(place)
    place.chmod(0o666)
    yield place
    os.close(master)
    os.close(slave)


def test_history_switched_off(path: Path, no_file: Path, told: list[str]) -> None:
    """A link to what is no file switches the history off, without a word, and leaves that file's mode alone."""
    path.parent.mkdir()
    path.symlink_to(no_file)
    assert isinstance(open_history(told.append), InMemoryHistory)
    assert (told, mode(no_file)) == ([], 0o666)


def test_no_file_that_comes_in_between(
    path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What turns out to be no file when it is open keeps its mode."""
    path.parent.mkdir()
    os.mkfifo(path)
    path.chmod(0o666)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    open_history(told.append)
    assert mode(path) == 0o666


def test_a_link_that_comes_in_between(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mode that is changed is that of the file that was opened, whatever its name means by then."""
    other = tmp_path / "other"
    other.touch()
    other.chmod(0o644)
    fstat = os.fstat

    def swapped(descriptor: int) -> os.stat_result:
        path.unlink()
        path.symlink_to(other)
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", swapped)
    open_history(print)
    assert (path.is_symlink(), mode(other)) == (True, 0o644)


@pytest.mark.parametrize("is_there", [True, False])
def test_history_that_is_a_link(
    path: Path,
    tmp_path: Path,
    told: list[str],
    is_there: bool,  # noqa: FBT001
) -> None:
    """A link to a file is not followed, be the file there or not: it may be one that others need."""
    path.parent.mkdir()
    path.symlink_to(tmp_path / "other")
    if is_there:
        (tmp_path / "other").touch()
        (tmp_path / "other").chmod(0o644)
    history = open_history(told.append)
    history.append_string("line")
    assert told == [f"no history is kept: {path} is a link"]
    assert history.get_strings() == ["line"]
    assert (tmp_path / "other").exists() is is_there
    if is_there:
        assert (mode(tmp_path / "other"), (tmp_path / "other").read_bytes()) == (0o644, b"")


def test_a_link_that_comes_later(path: Path, tmp_path: Path, told: list[str]) -> None:
    """A file that becomes a link while the program runs is no longer written."""
    history = open_history(told.append)
    path.unlink()
    path.symlink_to(tmp_path / "other")
    history.append_string("line")
    assert not (tmp_path / "other").exists()
    assert told[0].startswith("the history can no longer be written: ")


def test_what_is_not_kept(path: Path) -> None:
    """No line after a space and no secret goes in."""
    secrets = (
        " dropped",
        "help\n create-job x {}",
        "create-job x -----BEGIN RSA PRIVATE KEY-----",
        "AWS_SESSION_TOKEN=1",
        'create-job x {"password": 1}',
        'create-job x {"SecretKey": 1}',
        "AKIAIOSFODNN7EXAMPLE",
    )
    history = open_history(print)
    for line in ("kept", *secrets):
        history.append_string(line)
    assert loaded() == history.get_strings() == ["kept"]


def test_history_that_cannot_be_kept(
    tmp_path: Path, path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that cannot be written, or no home at all, is told, and the lines of this session are still there."""
    path.parent.mkdir()
    path.mkdir()
    assert isinstance(open_history(told.append), InMemoryHistory)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(told.append), InMemoryHistory)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert isinstance(open_history(told.append), InMemoryHistory)
    assert [line.split(":")[0] for line in told] == ["no history is kept"] * 3


def test_history_that_can_no_longer_be_kept(path: Path, told: list[str]) -> None:
    """A file that goes is told once, and the lines of this session are still there."""
    history = open_history(told.append)
    path.unlink()
    path.mkdir()
    for line in ("one", "two"):
        history.append_string(line)
    assert told == ["the history can no longer be written: Is a directory"]
    assert history.get_strings() == ["one", "two"]


def test_history_that_can_no_longer_be_read(path: Path, told: list[str]) -> None:
    """A file that goes before it is read is told."""
    history = open_history(told.append)
    path.unlink()
    path.mkdir()
    assert list(history.load_history_strings()) == []
    assert told == ["the history can no longer be read: Is a directory"]


def test_a_full_disk(path: Path, told: list[str]) -> None:
    """A line of which only a part can be written is told, and does not spoil those after it."""
    history = open_history(told.append)
    history.append_string("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, limits[1]))
    try:
        history.append_string("x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    history.append_string("after")
    assert told == ["the history can no longer be written: No space left on device"]
    assert [line for line in loaded() if not line.startswith("x")] == ["after", "before"]


def test_a_long_history(path: Path) -> None:
    """Of a long history the end is offered, whole lines only."""
    history = open_history(print)
    for number in range(3):
        history.append_string(f"{number}\n" * (LOADED // 5))
    assert path.stat().st_size > LOADED
    assert loaded() == ["2\n" * (LOADED // 5)]
    history.append_string("x" * LOADED)
    assert loaded() == []
    history.append_string("last")
    assert loaded() == ["last"]
