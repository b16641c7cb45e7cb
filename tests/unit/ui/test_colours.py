"""The colours of blocks and documents."""

import re

import pytest

from jobs_sandbox.ui.colours import coloured, json_parts

BODY = '{\n  "a" : 1,\n  "status" : "FAILED"\n}\n\n'


@pytest.mark.parametrize("begin", ["─── Title ─\n", "─── Title ─\n(note)\n"])
def test_block(begin: str) -> None:
    """The header and the JSON of a block are coloured, and its text does not change."""
    shown = coloured(begin + BODY, "event")
    assert re.sub("\x1b\\[[0-9]*m", "", shown) == begin + BODY
    assert shown.startswith("\x1b[36m─── Title ─\x1b[0m\n")
    assert '\x1b[34m"a"\x1b[0m : \x1b[36m1\x1b[0m' in shown
    assert '\x1b[31m"FAILED"\x1b[0m' in shown


@pytest.mark.parametrize(
    "body", ["description: {\n", "more\nand more\n{\n}\n", f'{{\n"{"x" * 2**16}"']
)
def test_body_without_colours(body: str) -> None:
    """Text that is not JSON, or too long to be read, has no colours."""
    assert coloured(f"first\n{body}", "warning") == f"\x1b[35mfirst\x1b[0m\n{body}"


def test_kind_without_colour() -> None:
    """A notice has no colours."""
    assert coloured("first\n{\n}\n", "notice") == "first\n{\n}\n"


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        (
            '{"a": ["b", 1.5, true, null]}',
            {'"a"': "blue", '"b"': "green", "1.5": "cyan", "true": "magenta"},
        ),
        ('{"status": "QUEUED"}', {'"QUEUED"': "cyan"}),
        ('{"status": "TIMED_OUT"', {'"TIMED_OUT"': "red"}),
        ('{"status": "NEW_IN_AWS", "a": "FAILED"}', {'"NEW_IN_AWS"': "green", '"FAILED"': "green"}),
    ],
)
def test_parts(text: str, colours: dict[str, str]) -> None:
    """Keys, strings, numbers and constants each have a colour; a status has its own."""
    parts = list(json_parts(text))
    assert "".join(part for _, part in parts) == text
    assert colours.items() <= {part: colour for colour, part in parts}.items()
