"""Secrets are hidden in the words of others, and URLs lose their user parts."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.redaction import redact, without_user
from tests.unit.fakes import TIMEOUT

SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:1/path", "https://host:1/path"),
        ("https://user:pw@host:1", "https://…@host:1"),
        ("https://us@er:p/w#?@host", "https://…@host"),
        ("user:pw@host", "…@host"),
        ("https://us\ner:pw@host", "https://…@host"),
    ],
)
def test_url(url: str, shown: str) -> None:
    """A URL is shown without its user part, be it well-formed or not."""
    assert without_user(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"<{SECRET}> and x{SECRET}x", "<…> and x…x"),
        ("see http://user:pw@host/path, socks5://x@y", "see http://…@host/path, socks5://…@y"),
        ("mail me@host", "mail me@host"),
        ("several\n lines\r\n\tof it", "several lines of it"),
        # An emulator's keys
        ("the latest test", "the latest test"),
    ],
)
def test_text(text: str, shown: str) -> None:
    """A text is one line without these secrets and without the user part of any URL."""
    assert redact(text, [SECRET, "test"]) == shown


@pytest.mark.parametrize("word", ["'a' * 2**20", "'a:1,' * 2**18", "'a@' + 'b:' * 2**18"])
def test_long_words(word: str) -> None:
    """A long word, as a server may send one, is read once: it would take an hour otherwise."""
    script = (
        f"from jobs_sandbox.core.redaction import redact; word = {word}\n"
        "assert redact(word + ' http://user:pw@host', []) == word + ' http://…@host'"
    )
    # in a process of its own, for nothing interrupts a pattern at work
    subprocess.run([sys.executable, "-c", script], check=True, timeout=3 * TIMEOUT)


@given(st.text(), st.text())
def test_any_text(before: str, after: str) -> None:
    """A long secret is never left, whatever is around it."""
    assert SECRET not in redact(before + SECRET + after, [SECRET])
