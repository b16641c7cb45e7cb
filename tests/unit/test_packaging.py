"""What pyproject.toml, the workflow and the README say of the same thing is the same."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Imported by one name, installed by another.
DISTRIBUTIONS = {"awsiot": "awsiotsdk"}
RUNNERS = {"Linux": "ubuntu-latest", "MacOS": "macos-latest"}
CLASSIFIERS = "\n".join(PROJECT["classifiers"])
START = (ROOT / "README.md").read_text(encoding="utf-8").split("## Start\n")[1].split("```")[0]


def matrix(name: str) -> list[str]:
    """A row of the workflow's matrix."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    row = re.search(rf"^ +{name}: \[(.+)\]", workflow, re.MULTILINE)
    assert row
    return [value.strip('"') for value in row[1].split(", ")]


def test_python_versions() -> None:
    """The Python versions that the package names are those of the workflow's matrix and of the README."""
    named = re.findall(r"Python :: (3\.\d+)", CLASSIFIERS)
    assert matrix("python") == named
    assert sorted(set(re.findall(r"\b3\.\d+", START))) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_systems() -> None:
    """The workflow runs on the operating systems that the package names."""
    named = re.findall(r"Operating System :: (?:.+ :: )?(.+)", CLASSIFIERS)
    assert sorted(matrix("os")) == sorted(RUNNERS[name] for name in named)


def test_what_was_run() -> None:
    """The README tells the versions and systems that were run, to the patch, from those that should work."""
    told = re.search(
        r"The tests were run on (.+?); (.+) are expected to work\.", " ".join(START.split())
    )
    assert told
    run, expected = told.groups()
    assert re.findall(r"\b3\.\d+", run) == [
        version.rpartition(".")[0] for version in re.findall(r"\b3\.\d+\.\d+", run)
    ]
    assert set(re.findall(r"\b3\.\d+", run)).isdisjoint(re.findall(r"\b3\.\d+", expected))
    assert [(name in run, name in expected) for name in ("Linux", "macOS")] == [
        (True, False),
        (False, True),
    ]


def test_interpreters(tmp_path: Path) -> None:
    """Of the Pythons that it finds, .ci/run takes the oldest, and the newest of each minor version."""
    found = [
        "3.11.0",
        "3.11.1",
        "3.11.99",
        "3.12.0",
        "3.12.9",
        "3.12.99",
        "3.13.99",
        "3.14.98",
        "3.14.99",
    ]
    scripts = {
        f"versions/{version}/bin/python": f'case $2 in *version*) echo "{version} $0" ;; esac'
        for version in found
    }
    scripts |= {
        "bin/git": "exit 1",
        "bin/apt-get": "exit 1",
    }  # without git it ends after the choice
    for name, line in scripts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
    env = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "PYENV_ROOT": str(tmp_path)}
    done = subprocess.run(
        [ROOT / ".ci" / "run"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    chosen = re.findall(r"^(3\.1[1-4]\.\d+) /", done.stdout, re.MULTILINE)
    assert chosen == ["3.11.0", "3.11.99", "3.12.99", "3.13.99", "3.14.99"]


def test_bounds() -> None:
    """What is needed has a lowest version, with which .ci/run runs the tests; but awscrt has awsiotsdk's own."""
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["local"]]
    assert [it for it in needed if not re.match(r"[\w-]+(>=|==)\d", it)] == ["awscrt"]
    assert [it for it in requires("awsiotsdk") or [] if it.startswith("awscrt==")]


def test_boto3_of_ministack() -> None:
    """The local extra names the boto3 that goes with MiniStack's botocore, so that no other has to be tried."""
    (botocore,) = (it for it in requires("ministack") or [] if it.startswith("botocore=="))
    assert (
        f"boto3=={botocore.removeprefix('botocore==')}" in PROJECT["optional-dependencies"]["local"]
    )


def test_the_name_on_the_index() -> None:
    """Nobody is told to install this by its name alone, which is not ours on the index: anyone could register it."""
    folders = ("src", "docs", "examples", "policies", "benchmarks", ".github")
    paths = [
        path for name in folders for path in (ROOT / name).rglob("*.*") if path.suffix != ".pyc"
    ]
    told = r"jobs-sandbox\[(?!\w+\] @ git\+)|(install|add|uvx|run|--from|--spec)( -\S+)*\s+['\"]?jobs-sandbox\b(?!\[)"
    texts = {path: path.read_text(encoding="utf-8") for path in [*ROOT.glob("*.md"), *paths]}
    assert len(texts) > 50
    assert [path.name for path, text in texts.items() if re.search(told, text)] == []


@pytest.mark.parametrize("package", ["", "local"])
def test_what_is_imported_is_declared(package: str) -> None:
    """Whatever the program imports, it declares; what --local alone imports, in its extra."""
    source = ROOT / "src" / "jobs_sandbox"
    declared = PROJECT["dependencies"] if not package else PROJECT["optional-dependencies"]["local"]
    imported = {
        name
        for path in source.rglob("*.py")
        if (source / "local" in path.parents) == bool(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    foreign = (
        {name.split(".")[0] for name in imported} - sys.stdlib_module_names - {"jobs_sandbox", ""}
    )
    # The data plane uses it where the extra is installed.
    optional = set() if package else {"cryptography"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} - optional <= {
        re.match(r"[\w-]+", requirement)[0]  # type: ignore[index]
        for requirement in declared
    }
