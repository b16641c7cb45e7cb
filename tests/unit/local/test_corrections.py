"""Corrections fit the pinned version of MiniStack; what each does is tested on the wire."""

from pathlib import Path

import pytest

from jobs_sandbox.local.child import corrections


def test_the_version_is_the_pinned_one() -> None:
    """The corrections are written for the version that the local extra installs."""
    project = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'"ministack=={corrections.MINISTACK}"' in project


def test_another_version_is_not_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another MiniStack no correction is applied, and the child does not start."""
    monkeypatch.setattr(corrections, "CORRECTIONS", (pytest.fail,))
    monkeypatch.setattr(corrections, "version", lambda _: "2.0")
    needed = f"MiniStack 2.0 is installed, and {corrections.MINISTACK} is needed"
    with pytest.raises(RuntimeError, match=needed):
        corrections.apply()
