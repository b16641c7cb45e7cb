"""What is written down for people is there."""

import ast
import re
from pathlib import Path

import pytest

from jobs_sandbox.commands import COMMANDS, Command
from jobs_sandbox.guide import help_lines

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


def test_the_readme_names_tests_that_exist() -> None:
    """Each promise of the table of faults names the tests that prove it, and they are there."""
    section = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8").split("## When things fail")[1]
    proofs = [row.split("|")[-2] for row in section.splitlines() if row.startswith("| ")][1:]
    assert len(proofs) == 15
    sources = {path.name: path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")}
    for proof in proofs:
        files, functions = re.findall(r"test_\w+\.py", proof), re.findall(r"\b(test_\w+)`", proof)
        assert files
        for file in files:
            assert file in sources
        for function in functions:
            assert f"def {function}(" in sources[files[0]], function
