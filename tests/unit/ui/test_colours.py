"""The colours of blocks and documents."""

import re

import pytest

from jobs_sandbox.ui.colours import coloured, json_parts

BLOCK = '─── Title ─\n{\n  "a" : 1,\n  "status" : "FAILED"\n}\n\n'


def plain(text: str) -> str:
    return re.sub("\x1b\\[[0-9]*m", "", text)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("response", 32),
        ("event", 36),
        ("rejected", 31),
        ("warning", 35),
        ("notice", 0),
        ("echo", 0),
    ],
)
def test_first_line(kind: str, code: int) -> None:
    """The first line tells the kind; what is of no kind stays as it is."""
    assert coloured("first\nsecond\n", kind) == (
        f"\x1b[{code}mfirst\x1b[0m\nsecond\n" if code else "first\nsecond\n"
    )


def test_body() -> None:
    """The JSON of a block is coloured, with or without a note above it; nothing else about it changes."""
    for text in (BLOCK, BLOCK.replace("\n", "\n(note)\n", 1)):
        shown = coloured(text, "response")
        assert plain(shown) == text
        assert '\x1b[34m"a"\x1b[0m : \x1b[36m1\x1b[0m' in shown
        assert '\x1b[31m"FAILED"\x1b[0m' in shown


@pytest.mark.parametrize("body", ["description: {\n", "no JSON\nmore\n{\n", "{}"])
def test_no_body(body: str) -> None:
    """What is no JSON below the first line is not coloured."""
    assert coloured(f"first\n{body}\n\n", "event").split("\n", 1)[1] == f"{body}\n\n"


def test_long_body() -> None:
    """A block that nobody reads is not worth the time."""
    body = '{\n  "a" : "' + "x" * 70_000 + '"\n}\n'
    assert coloured(f"first\n{body}", "event").split("\n", 1)[1] == body


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        (
            '{"a": ["b", 1.5, true, null]}',
            {'"a"': "blue", '"b"': "green", "1.5": "cyan", "true": "magenta"},
        ),
        ('{"status": "QUEUED"}', {'"status"': "blue", '"QUEUED"': "cyan"}),
        ('{"status": "SUCCEEDED"}', {'"SUCCEEDED"': "green"}),
        ('{"status": "TIMED_OUT"}', {'"TIMED_OUT"': "red"}),
        ('{"status": "NEW_IN_AWS", "a": "FAILED"}', {'"NEW_IN_AWS"': "green", '"FAILED"': "green"}),
        ('{"status": 5', {"5": "cyan"}),
    ],
)
def test_parts(text: str, colours: dict[str, str]) -> None:
    """Keys, strings, numbers and constants have each a colour, and the value of a status its own."""
    parts = list(json_parts(text))
    assert "".join(part for _, part in parts) == text
    found = {part: colour for colour, part in parts}
    assert {part: found[part] for part in colours} == colours
