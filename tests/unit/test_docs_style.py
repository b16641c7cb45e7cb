"""What is written down for people is there."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from jobs_sandbox.commands.command import COMMANDS, Command
from jobs_sandbox.commands.completion import help_lines
from tests.support.readme import PAGES, README, ROOT

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: path.name)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """Every test function begins with a docstring, and every test module too."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    tests = [
        node
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
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
    section = (
        (TESTS.parent / "docs" / "faults.md")
        .read_text(encoding="utf-8")
        .split("## When things fail")[1]
    )
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_a_page(page: Path) -> None:
    """Text is wrapped as the code is; tables and what is in fences may be wider."""
    text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    assert [
        line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")
    ] == []


def test_every_page_is_named() -> None:
    """The README names every page of docs/, every picture, and every page beside it."""
    text = README.read_text(encoding="utf-8")
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/*.svg"), *set(ROOT.glob("*.md")) - {README}]
    assert len(pages) > 10
    assert [page.name for page in pages if f"({page.relative_to(ROOT)})" not in text] == []


@pytest.mark.parametrize("name", ["session.svg", "life.svg"])
def test_a_picture(name: str) -> None:
    """A picture is an SVG of less than 300 KB that shows colours, and begins with a command at the prompt."""
    path = ROOT / "docs" / name
    assert path.stat().st_size < 300_000
    texts = [element for element in ET.parse(path).iter() if element.tag.endswith("}text")]  # noqa: S314 # ours
    assert (texts[0].text or "").startswith("jobs-sandbox> ")
    assert len({element.get("fill") for element in texts}) > 4
