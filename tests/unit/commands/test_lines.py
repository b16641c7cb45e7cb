"""Text becomes commands and words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.commands.lines import LineJoiner, is_open_document, logical_lines, split

BLANKS = "\t\r\n \u00a0\u2003\u2028\u2029\u3000"


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ('create-job J {"a":1', True),
        ("create-job J {", True),
        ("  CREATE-job  J  [1,", True),
        ('create-job J {"a":', True),
        ('create-job J {"a":{"b":[1]}', True),
        ('create-job J {"a":"}', True),
        ('create-job J {"a":"\\"}', True),
        ('create-job J {"a":"\\\\"', True),
        ('create-job J {"a":\n [1,\n 2]', True),
        ("create-job J {x", True),
        ("create-job J {x\nquit", True),
        ("create-job J {}{", True),
        ("create-job J '{", True),
        ('create-job {"a":', True),
        ("{", True),
        ('update-job-execution J FAILED {"statusDetails":', True),
        ('help\ncreate-job J {"a":', True),
        ('create-job J {"a":1}', False),
        ('create-job J {"a":"{"}', False),
        ('create-job J {"a":"\\"{["}', False),
        ("create-job J []", False),
        ("create-job J {x}", False),
        ('create-job J {"a":1}}', False),
        ('create-job J {"a":1]', False),
        ("create-job J '{}'", False),
        ('create-job J "text', False),
        ('create-job J "a { b"', False),
        ("create-job J file://{", False),
        ("create-job J", False),
        ("create-job J {\n}\nhelp", False),
        ("# see {", False),
        ("# see {\n{", True),
        ("  # see {", False),
        ("wait 3", False),
        ("", False),
    ],
)
def test_open_documents(text: str, is_open: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A command goes on while brackets of its document are open, JSON or not; those in strings do not count."""
    assert is_open_document(text) is is_open


def test_a_huge_line_is_not_open() -> None:
    """A line that no service would take is not gone through for every key."""
    assert is_open_document("[" * 2**17)
    assert not is_open_document("create-job J " + "[" * 2**17)


@pytest.mark.parametrize(
    "lines",
    [
        [""],
        ["help"],
        ["help", "quit"],
        ["", "", "help", ""],
        ['create-job J {"a":\n1}', "help"],
        ['create-job J {"a": x,\nquit\n"b": "never closed\n}', "help"],
        ['create-job J {"a": 1}}', "help"],
        ["create-job J {\nhelp\nquit"],
        ['{\n"a": 1\n}', "help"],
        ["creat-job J {\nquit\n}", "help"],
        ["# {", "help"],
        ['create-job J {\n"a": {"b": 1}}\n  "c": [\n2]\n}', "help"],
        ['create-job J {"a": 1}\n, "b": 2}\n]', "create-job K {}"],
        ["# {", "}"],
        ["help", '"c": 2'],
        ["help", "}"],
        ["create-job J {}", "", "}"],
    ],
)
def test_logical_lines(lines: list[str]) -> None:
    """Pasted text is a command a line, but what belongs to a document, be it right or wrong, is with it."""
    assert logical_lines("\n".join(lines)) == lines


def test_line_by_line() -> None:
    """Lines that come one by one are put together in the same way, and what is left at the end is not lost."""
    joiner = LineJoiner()
    assert [joiner.add(line) for line in ("help", "create-job J {", '"a": 1')] == [
        "help",
        None,
        None,
    ]
    assert joiner.is_open
    assert joiner.add("}") == 'create-job J {\n"a": 1\n}'
    assert not joiner.is_open
    assert joiner.rest() is None
    assert joiner.add("[") is None
    assert joiner.rest() == "["
    assert not joiner.is_open
    assert joiner.add("quit") == "quit"


@given(
    st.lists(
        st.sampled_from(
            ['create-job J {"a":', "[", "]", "}", '"', "\\", "#", "quit", " ", "\n", "'{"]
        )
    ).map("".join)
)
def test_any_text(text: str) -> None:
    """Whatever the text, nothing of it is lost, and closing all brackets ends it."""
    assert "\n".join(logical_lines(text)) == text
    assert not is_open_document(text + "\n" + "]" * len(text))
    assert is_open_document(text) is (logical_lines(text + "\nquit")[-1] != "quit")


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks(blank: str) -> None:
    """Unicode's blanks, which look like any other, are blanks between words, and kept behind the first word."""
    assert split(f"{blank}help{blank}") == ("help", "")
    assert split(f"a{blank}{blank}b{blank}c ") == ("a", f"b{blank}c ")
    assert split(blank) == ("", "")
