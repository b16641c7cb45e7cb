"""The lines of earlier sessions."""

import os
import stat
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory

from jobs_sandbox.ui.history import open_history


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of this test's history; there is none yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "jobs-sandbox" / "history"


@pytest.fixture
def warnings() -> list[str]:
    """The warnings that the user has seen."""
    return []


def loaded() -> list[str]:
    """The lines that a new session has, the latest first."""
    return list(open_history(print).load_history_strings())


def test_lines_outlive_the_session(path: Path, warnings: list[str]) -> None:
    """A line comes back in the next session, whatever is in it; folder and file are private."""
    before = os.umask(0)
    history = open_history(warnings.append)
    os.umask(before)
    for line in ("one", 'create-job J {\n+ "a": "é"\n}', "latin \udce9"):
        history.append_string(line)
    assert loaded() == ["latin ?", 'create-job J {\n+ "a": "é"\n}', "one"]
    modes = [stat.S_IMODE(place.stat().st_mode) for place in (path.parent, path)]
    assert (modes, warnings) == ([0o700, 0o600], [])


@pytest.mark.parametrize(
    "line",
    [
        " begins with a blank",
        "create-job x -----BEGIN RSA PRIVATE KEY-----",
        "AWS_SESSION_TOKEN=1",
        'create-job x {"password": 1}',
        'create-job x {"SecretKey": 1}',
        "AKIAIOSFODNN7EXAMPLE",
    ],
)
def test_lines_that_are_not_kept(line: str) -> None:
    """Secrets, and lines that begin with a blank, are kept nowhere."""
    history = open_history(print)
    history.append_string("kept")
    history.append_string(line)
    assert loaded() == history.get_strings() == ["kept"]


def test_switched_off(path: Path, warnings: list[str]) -> None:
    """A link to ``/dev/null`` switches the history off without a warning."""
    path.parent.mkdir(parents=True)
    path.symlink_to(os.devnull)
    history = open_history(warnings.append)
    history.append_string("line")
    assert (loaded(), history.get_strings(), warnings) == ([], ["line"], [])


def test_no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> None:
    """Without a place for the history there is a warning, and the session remembers its lines."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert isinstance(open_history(warnings.append), InMemoryHistory)
    assert warnings[0].startswith("no history is kept: ")


def test_no_longer_written(path: Path, warnings: list[str]) -> None:
    """A history that can no longer be written causes one warning, and the session goes on."""
    history = open_history(warnings.append)
    path.unlink()
    path.mkdir()
    for line in ("one", "two"):
        history.append_string(line)
    assert warnings == ["the history can no longer be written: Is a directory"]
    assert history.get_strings() == ["one", "two"]
