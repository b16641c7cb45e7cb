"""Text becomes commands and words."""

import pytest

from jobs_sandbox.commands.lines import first_word, is_open_document, split_commands


@pytest.mark.parametrize(
    "text",
    [
        'create-job J {"a":1',
        'create-job J {"a":\n [1,\n 2]',
        'create-job J {"a":"}',
        'create-job J {"a":"\\"}',
        "create-job J {}{",
        "create-job J {x\nquit",
        "create-job J '{",
        "{",
        "  create-job  J  [1,",
        'update-job-execution J FAILED {"statusDetails":',
        'help\ncreate-job J {"a":',
    ],
)
def test_open_documents(text: str) -> None:
    """A command goes on while brackets of its document are open, whether or not it is JSON."""
    assert is_open_document(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "create-job J {x}",
        'create-job J {"a":1}}',
        'create-job J {"a":"\\"{["}',
        'create-job J "a { b"',
        "create-job J file://{",
        "create-job J {\n}\nhelp",
        "  # see {",
        "create-job J " + "[" * 2**17,
    ],
)
def test_closed_documents(text: str) -> None:
    """Brackets in strings, in comments and in a line that no service would take do not count."""
    assert not is_open_document(text)


@pytest.mark.parametrize(
    "commands",
    [
        ["", "", "help", "quit", ""],
        ['create-job J {"a":\n1}', "help"],
        ['create-job J {"a": x,\nquit\n"b": "never closed\n}', "help"],
        ["create-job J {\nhelp\nquit"],
        ["creat-job J {\nquit\n}", "help"],
        ["# {", "}"],
    ],
)
def test_split_commands(commands: list[str]) -> None:
    """Each line is a command, but a document keeps its lines, be it right or wrong."""
    assert split_commands("\n".join(commands)) == commands


@pytest.mark.parametrize("blank", "\t\r\n \u00a0\u2003\u2028\u3000")
def test_first_word(blank: str) -> None:
    """Every blank of Unicode separates words; those after the first word's blanks stay."""
    assert first_word(f"{blank}help{blank}") == ("help", "")
    assert first_word(f"a{blank}{blank}b{blank}c{blank}") == ("a", f"b{blank}c{blank}")
    assert first_word(blank) == ("", "")
