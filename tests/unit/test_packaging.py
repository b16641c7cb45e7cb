"""What pyproject.toml, the workflow and the README say of the same thing is the same."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Imported by one name, installed by another.
DISTRIBUTIONS = {"awsiot": "awsiotsdk"}


def test_python_versions() -> None:
    """The Python versions that the package names are those of the workflow's matrix and of the README."""
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    matrix = re.search(r"python: \[(.+)\]", workflow)
    assert matrix
    assert re.findall(r"3\.\d+", matrix[1]) == named
    start = (ROOT / "README.md").read_text(encoding="utf-8").split("## Start\n")[1].split("```")[0]
    assert sorted(set(re.findall(r"\b3\.\d+", start))) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("package", ["", "local"])
def test_what_is_imported_is_declared(package: str) -> None:
    """Whatever the program imports, it declares; what --local alone imports, in its extra."""
    source = ROOT / "src" / "jobs_sandbox"
    declared = PROJECT["dependencies"] if not package else PROJECT["optional-dependencies"]["local"]
    imported = {
        name
        for path in source.rglob("*.py")
        if (path.parent == source / "local") == bool(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    foreign = {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"jobs_sandbox", ""}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= {
        re.match(r"[\w-]+", requirement)[0]  # type: ignore[index]
        for requirement in declared
    }
