"""Corrections fit the pinned version of MiniStack; what each does is tested on the wire."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs_sandbox.local.child import corrections


def test_the_version_is_the_pinned_one() -> None:
    """The corrections are written for the version that the local extra installs."""
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"ministack=={corrections.MINISTACK}"' in project


def test_another_version_is_not_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another MiniStack no correction is applied, and a warning says so."""
    monkeypatch.setattr(corrections, "CORRECTIONS", (pytest.fail,))
    monkeypatch.setattr(corrections, "version", lambda _: "2.0")
    [warning] = corrections.apply()
    assert warning.startswith(f"MiniStack 2.0 is installed, not {corrections.MINISTACK}: ")


@pytest.mark.parametrize("correct", corrections.CORRECTIONS)
def test_every_correction_follows_a_document(correct: Callable[[], None]) -> None:
    """Each correction names the page that it follows."""
    assert re.search(r"\(.+\)", correct.__doc__ or "", re.DOTALL)
