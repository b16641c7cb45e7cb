"""docs/fidelity.md names the tests that show what it says, and none of those is left out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")


def names_in(*folders: str) -> set[str]:
    files = [file for folder in folders for file in sorted((ROOT / "tests").glob(folder))]
    return {
        name
        for file in files
        for name in re.findall(r"(?m)^def (test_\w+)", file.read_text(encoding="utf-8"))
    }


def test_every_test_that_is_named_exists() -> None:
    """A test that the page names is there."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named <= names_in("integration/*.py", "unit/local/*.py", "aws/*.py")


def test_every_test_of_a_difference_is_named() -> None:
    """A correction, a difference and a question that has a test has a row."""
    shown = names_in("integration/test_corrections.py", "integration/test_fidelity.py", "aws/*.py")
    assert shown - {"test_walkthrough"} <= set(re.findall(r"`(test_\w+)`", PAGE))
