"""What is written down for people is there."""

import ast
from pathlib import Path

import pytest

from jobs_sandbox.commands import COMMANDS, Command, help_lines

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """Every test function begins with a docstring, and every test module too."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    tests = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert tests
    assert ast.get_docstring(module)
    assert [test.name for test in tests if not ast.get_docstring(test)] == []


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_every_command_is_documented(command: Command) -> None:
    """Every command has a summary of one line and a place in the help."""
    assert command.summary
    assert "\n" not in command.summary
    assert f"  {command.usage}" in help_lines()
