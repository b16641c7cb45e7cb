"""The map of the rooms is true: who imports what, who starts threads and ends the program, how long things are."""

import ast
import graphlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "jobs_sandbox"
MODULES = sorted(SOURCE.rglob("*.py"))

# A room is a module, or a package with all its modules. Each imports these rooms, and no others.
ROOMS = {
    "__init__": "local",
    "__main__": "cli",
    "app": "console control_plane data_plane device errors formatting joining local repl script "
    "session settings signals threads",
    "blocks": "",
    "cli": "app redaction",
    "colours": "",
    "commands": "errors formatting handlers lines parameters",
    "console": "blocks colours errors formatting threads",
    "control_plane": "blocks errors json_text redaction settings",
    "data_plane": "blocks errors json_text planes settings threads",
    "device": "device_supervisor errors settings",
    "device_supervisor": "",
    "documents": "errors formatting json_text",
    "editor": "errors threads",
    "errors": "",
    "executions": "blocks",
    "formatting": "blocks errors json_text redaction",
    "guide": "commands documents executions formatting lines parameters",
    "handlers": "blocks errors json_text planes",
    "history": "lines",
    "joining": "redaction settings",
    "json_text": "",
    "lines": "json_text",
    "local": "errors json_text",
    "parameters": "documents errors executions formatting",
    "planes": "blocks",
    "redaction": "",
    "repl": "console editor errors handlers history lines session settings terminal typing_aids",
    "script": "console errors handlers session threads",
    "session": "blocks commands console errors executions guide planes threads waiting",
    "settings": "redaction",
    "signals": "",
    "terminal": "threads",
    "threads": "",
    "typing_aids": "colours documents executions guide",
    "verdict": "blocks errors executions",
    "waiting": "blocks errors verdict",
}
# Each outside system has one door.
DOORS = {
    "awscrt": "data_plane",
    "awsiot": "data_plane",
    "boto3": "control_plane",
    "botocore": "control_plane",
    "cryptography": "local",
    "hypercorn": "local",
    "ministack": "local",
    "prompt_toolkit": "editor history repl terminal typing_aids",
    "pygments": "colours",
    "urllib3": "control_plane",
}
# What is done in these modules only.
ONLY_IN = {
    "threading": "threads",
    "sys.exit": "cli",
    "os._exit": "cli local/ministack signals",
    "print": "",
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_names(path: Path) -> set[str]:
    """The modules that a module imports, wherever in it, as dotted names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(room: str) -> set[str]:
    names = {name for path in MODULES if room_of(path) == room for name in imported_names(path)}
    rooms = {name.split(".")[1] for name in names if name.startswith("jobs_sandbox.")}
    return rooms - {room, "__version__"}


@pytest.mark.parametrize("room", sorted({room_of(path) for path in MODULES} | set(ROOMS)))
def test_who_imports_what(room: str) -> None:
    """Every room is on the map, and imports the rooms that it is said to import."""
    imported = " ".join(sorted(rooms_imported(room)))
    assert ROOMS.get(room) == imported, "change ROOMS, if that is what you mean, and the map in CONTRIBUTING.md"


def test_imports_run_one_way() -> None:
    """No room imports, in however many steps, a room that imports it."""
    graphlib.TopologicalSorter({room: imported.split() for room, imported in ROOMS.items()}).prepare()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_one_door_for_each_outside_system(path: Path) -> None:
    """What is not Python's own is imported by the rooms that are its door, and by no other."""
    foreign = {name.split(".")[0] for name in imported_names(path)} - sys.stdlib_module_names - {"jobs_sandbox"}
    assert [name for name in foreign if room_of(path) not in DOORS[name].split()] == []


@pytest.mark.parametrize("what", ONLY_IN)
def test_done_in_one_place(what: str) -> None:
    """Threads are started, and the program is ended, where one looks for it."""
    doing = {
        str(path.relative_to(SOURCE).with_suffix(""))
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if what in (ast.unparse(node), getattr(node, "module", ""))
        or (isinstance(node, ast.Import) and what in [alias.name for alias in node.names])
    }
    assert doing == set(ONLY_IN[what].split())


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nobody_waits_for_a_lock(path: Path) -> None:
    """One event loop needs no lock: none of threading's is in the source."""
    text = path.read_text(encoding="utf-8")
    assert [name for name in ("Lock", "RLock", "Condition", "Event", "Semaphore") if f"threading.{name}" in text] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_is_long(path: Path) -> None:
    """No module over 320 lines, no class over 150, no function over 40."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 320
    assert list(too_long(ast.parse(text))) == []


def too_long(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            if lines > (150 if isinstance(node, ast.ClassDef) else 40):
                yield f"{node.name}: {lines} lines"


def test_the_map_for_people_is_whole() -> None:
    """The map in CONTRIBUTING.md has every room, and no other."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    assert sorted(named) == sorted(room for room in ROOMS if not room.startswith("__"))
