"""The pages are true where a program can check it: links, tests, tables of commands."""

import ast
import re
import runpy
from pathlib import Path

import pytest

from tests.support.readme import PAGES, ROOT

TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_every_test_says_what_it_proves(path: Path) -> None:
    """Every test function has a docstring."""
    functions = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    tests = [function for function in functions if function.name.startswith("test_")]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []


def test_the_page_of_commands() -> None:
    """docs/commands.md is what docs/make_commands.py makes of the commands."""
    page = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["page"]()
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == page, (
        "run docs/make_commands.py"
    )


def test_the_reasons_of_diagnose_job() -> None:
    """docs/troubleshooting.md has the reasons that diagnose-job can name, and no others."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    made = runpy.run_path(str(ROOT / "docs" / "make_commands.py"))["with_reasons"](text)
    assert made == text, "run docs/make_commands.py"
    assert "| `behind` |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """Every file and heading that a page links to exists."""
    for target in re.findall(r"\[[^]]*\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            lines = file.read_text(encoding="utf-8").lower().splitlines()
            assert anchor in [line.lstrip("# ").replace(" ", "-") for line in lines], target


@pytest.mark.parametrize("page", ["faults.md", "fidelity.md"])
def test_the_tests_that_a_page_names(page: str) -> None:
    """A test that a page names as its proof exists."""
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text(encoding="utf-8"))
    defined = {
        name
        for path in TESTS
        for name in re.findall(r"(?m)^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert set(named) <= defined


def test_the_scenarios_that_the_page_names() -> None:
    """Each scenario beside a case of Device Advisor exists."""
    page = (ROOT / "docs" / "testing-a-device.md").read_text(encoding="utf-8")
    table = page.partition("| case of Device Advisor |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z]+-[a-z-]+|[a-z]+)`", table))
    folder = ROOT / "src" / "jobs_sandbox" / "device" / "scenarios"
    assert named - {path.stem for path in folder.glob("*.jobs")} == set()
    assert len(named) > 5
