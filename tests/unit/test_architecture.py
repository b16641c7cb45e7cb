"""Imports go down the layers only, and each library has one package that imports it."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "jobs_sandbox"
MODULES = sorted(SOURCE.rglob("*.py"))

# From the top down. Packages and modules on one line never import one another.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"check", "testing"},
    {"app"},
    {"signals", "ui"},
    {"session"},
    {"commands", "control_plane", "data_plane", "device", "local"},
    {"core"},
]
LIBRARIES = {
    "awscrt": "data_plane",
    "awsiot": "data_plane",
    "boto3": "control_plane",
    "botocore": "control_plane",
    "cryptography": "local data_plane",
    "hypercorn": "local",
    "ministack": "local",
    "platformdirs": "ui",
    "prompt_toolkit": "ui",
    "pygments": "ui",
    "pytest": "testing",
    "wcwidth": "commands",
}


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imports(path: Path) -> set[str]:
    """The modules that a module imports, also inside functions, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    """A module imports from its own package and from the layers below."""
    package = package_of(path)
    if package == "__init__":  # the public names
        return
    layer = next(index for index, packages in enumerate(LAYERS) if package in packages)
    allowed = {package, "__version__"}.union(*LAYERS[layer + 1 :])
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("jobs_sandbox.")}
    assert ours - allowed == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_each_library_has_one_importer(path: Path) -> None:
    """A library that is not Python's own is imported in the packages that are listed."""
    foreign = (
        {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"jobs_sandbox"}
    )
    package = package_of(path)
    assert {name for name in foreign if package not in LIBRARIES.get(name, "").split()} == set()
