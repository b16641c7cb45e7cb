"""The package's metadata, the policies and the commands agree with one another."""

import ast
import re
import sys
import tomllib
from importlib.metadata import requires

import pytest

from jobs_sandbox.commands.command import COMMANDS, CONTROL
from jobs_sandbox.core.blocks import EVENTS, TOPICS
from tests.support.aws.permissions import shipped
from tests.support.readme import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCAL = PROJECT["optional-dependencies"]["local"]
# Imported by one name, installed by another.
DISTRIBUTIONS = {"awsiot": "awsiotsdk"}


def granted(name: str) -> set[tuple[str, str]]:
    """The actions and resources of a shipped policy."""
    return {(permission.action, permission.short) for permission in shipped(name)}


def test_control_plane_policy() -> None:
    """The control plane policy grants what the commands and the start need, and nothing else."""
    needed = {("iot:DescribeThing", "thing/<thingname>"), ("iot:CreateThing", "thing/<thingname>")}
    for command in COMMANDS.values():
        if command.plane == CONTROL:
            for action, resources in command.permissions.items():
                needed |= {(action, resource) for resource in resources}
    assert granted("control-plane-policy") == needed


def test_device_policy() -> None:
    """The device policy grants the topics of the requests and events, and nothing else."""
    base = "$aws/things/<thingname>/jobs/"
    requests = {topic for title, topic in TOPICS.items() if title not in EVENTS}
    answers = {f"{topic}/*" for topic in requests} | {TOPICS[title] for title in EVENTS}
    needed = {("iot:Publish", f"topic/{base}{topic}") for topic in requests}
    needed |= {("iot:Subscribe", f"topicfilter/{base}{topic}") for topic in answers}
    needed |= {("iot:Receive", f"topic/{base}{topic}") for topic in answers}
    assert granted("device-policy") == needed | {("iot:Connect", "client/test-*")}


def test_longest_thing_names() -> None:
    """docs/permissions.md has the longest names of things with which the device policy fits."""
    text = "".join((ROOT / "policies" / "device-policy.json").read_text(encoding="utf-8").split())
    page = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+) \| (\d+)", page, re.MULTILINE)
    assert rows
    for regions, longest in rows:
        for region in re.findall(r"`([\w-]+)`", regions):
            filled = text.replace("<region>", region).replace("<account>", "123456789012")
            left = 2048 - len(filled.replace("<thingname>", ""))
            assert left // filled.count("<thingname>") == int(longest), region


def test_boto3_of_ministack() -> None:
    """The local extra names the boto3 that fits MiniStack's botocore: pip tries no other."""
    (botocore,) = (it for it in requires("ministack") or [] if it.startswith("botocore=="))
    assert f"boto3=={botocore.removeprefix('botocore==')}" in LOCAL


@pytest.mark.parametrize("is_local", [False, True])
def test_declared_dependencies(is_local: bool) -> None:  # noqa: FBT001
    """Everything that the program imports is declared; what only --local imports, in its extra."""
    source = ROOT / "src" / "jobs_sandbox"
    declared = LOCAL if is_local else PROJECT["dependencies"]
    imported = set()
    for path in source.rglob("*.py"):
        if (source / "local" in path.parents) != is_local:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(str(node.module).split(".")[0])
    foreign = imported - sys.stdlib_module_names - {"jobs_sandbox"}
    # A certificate's dates are read with it where it is installed; pytest imports its own plugin.
    optional = set() if is_local else {"cryptography", "pytest"}
    names = {DISTRIBUTIONS.get(name, name) for name in foreign - optional}
    assert names <= {re.split("[><=]", requirement)[0] for requirement in declared}


def test_the_name_on_the_index() -> None:
    """No page says to install the name on the package index: it is not ours."""
    pattern = (
        r"jobs-sandbox\[(?!\w+\] @ git\+)"
        r"|(install|add|uvx|run|--from|--spec)( -\S+)*\s+['\"]?jobs-sandbox\b(?!\[)"
    )
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *(ROOT / "src").rglob("*.py")]
    found = [page.name for page in pages if re.search(pattern, page.read_text(encoding="utf-8"))]
    assert found == []
