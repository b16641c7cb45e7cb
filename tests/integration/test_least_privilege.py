"""The shipped policies are minimal, and a message names each missing permission.

Each permission, one action on one resource, is taken away in turn, and all commands are run.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from jobs_sandbox.commands.command import COMMANDS, CONTROL
from jobs_sandbox.core import blocks
from tests.support.aws.account import Account
from tests.support.aws.permissions import Permission, shipped
from tests.support.drivers.program import run

READING = [
    command.example.replace("Job1", "{job}")
    for command in COMMANDS.values()
    if command.plane == CONTROL and command.is_one_request and not command.verify_hint
]
SCRIPT = [
    "create-job {job} {{}}",
    "wait JobExecutionsChangedEvent 3",
    "wait NextJobExecutionChangedEvent 3",
    "get-pending-job-executions",
    "describe-job-execution {job}",
    "start-next-pending-job-execution",
    "update-job-execution {job} SUCCEEDED",
    *READING,
    "delete-job {job}",
]
START = 0  # no line of the script: the program does not start
FAILING_LINE = {
    "notify": 2,
    "notify-next": 3,
    "get": 4,
    "*/get": 5,
    "start-next": 6,
    "*/update": 7,
}
# MiniStack checks DescribeJobExecution on the thing alone; AWS on the job as well.
UNCHECKED = {("iot:DescribeJobExecution", "job/*")}
# What no command of this script needs.
UNUSED = {("iot:CancelJob", "job/*")}

SHIPPED = {policy: shipped(policy) for policy in ("device-policy", "control-plane-policy")}
EVERY = [permission for permissions in SHIPPED.values() for permission in permissions]


class Outcome(NamedTuple):
    """How the program fared without one permission."""

    thing: str
    status: int
    errors: list[dict[str, object]]
    unknown: str


def _document(permissions: list[Permission], account: Account, thing: str) -> str:
    resources: dict[str, list[str]] = {}
    for it in permissions:
        resources.setdefault(it.action, []).append(it.resource)
    statements = [
        {"Effect": "Allow", "Action": action, "Resource": resources[action]} for action in resources
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": statements})
    arn = account.policy("device-policy", "T").partition('"arn:aws:iot:')[2].split(":")
    return (
        text.replace("<region>", arn[0]).replace("<account>", arn[1]).replace("<thingname>", thing)
    )


def _run_without(account: Account, missing: Permission | None) -> Outcome:
    thing = account.device(policy=None).thing
    left = {
        policy: _document([it for it in permissions if it != missing], account, thing)
        for policy, permissions in SHIPPED.items()
    }
    device = account.device(thing, left["device-policy"])
    done = run(
        account.arguments(device, timeout="6", output="json"),
        "\n".join(SCRIPT).format(job=thing),
        account.operator(thing, left["control-plane-policy"]),
    )
    notices = [json.loads(line) for line in f"{done.stderr}{done.stdout}".splitlines()]
    errors = [line for line in notices if line["type"] == "Error"]
    unknown = [line["body"]["unknown"] for line in notices if line["type"] == blocks.DIAGNOSIS]
    return Outcome(thing, done.returncode, errors, str(unknown))


@pytest.fixture(scope="module")
def outcomes(account: Account) -> dict[Permission | None, Outcome]:
    """The program without each permission in turn, and with all of them (None)."""
    cases = [None, *EVERY]
    with ThreadPoolExecutor(4) as several:
        return dict(
            zip(cases, several.map(lambda case: _run_without(account, case), cases), strict=True)
        )


def test_all_permissions_suffice(outcomes: dict[Permission | None, Outcome]) -> None:
    """With exactly the shipped permissions every command succeeds."""
    assert outcomes[None].errors == []
    assert outcomes[None].status == 0


def _id(permission: Permission) -> str:
    return f"{permission.action} on {permission.short}"


NEEDED = [it for it in EVERY if (it.action, it.short) not in UNCHECKED | UNUSED]


@pytest.mark.parametrize("missing", NEEDED, ids=_id)
def test_a_missing_permission_is_named(
    missing: Permission, outcomes: dict[Permission | None, Outcome]
) -> None:
    """The command that needs it fails with a message that names it; diagnose-job names it alone."""
    outcome = outcomes[missing]
    line = _failing_line(missing)
    cause = outcome.unknown
    if line and SCRIPT[line - 1].startswith("diagnose-job"):
        assert outcome.errors == []
    else:
        assert outcome.status == 1
        assert outcome.errors[0].get("line", START) == line
        cause = str(outcome.errors[0]["cause"])
    for word in _named(missing, outcome.thing):
        assert word in cause


@pytest.mark.parametrize("missing", [it for it in EVERY if it not in NEEDED], ids=_id)
def test_a_permission_that_only_aws_checks(
    missing: Permission, outcomes: dict[Permission | None, Outcome]
) -> None:
    """Without it nothing fails here; `UNCHECKED` and `UNUSED` explain why."""
    assert outcomes[missing].status == 0
    assert outcomes[missing].errors == []


def test_unrelated_commands_go_on(outcomes: dict[Permission | None, Outcome]) -> None:
    """A missing permission of the device fails its request and what depends on it, no more."""
    for missing, outcome in outcomes.items():
        if missing and missing.policy == "device-policy" and _failing_line(missing) != START:
            lines = {error["line"] for error in outcome.errors}
            expected = {_failing_line(missing)}
            if "update" in missing.short and missing.action != "iot:Receive":
                expected.add(len(SCRIPT))
            assert lines == expected, missing


def _failing_line(missing: Permission) -> int:
    """The first line of the script that needs the permission."""
    if missing.policy == "control-plane-policy":
        for number, line in enumerate(SCRIPT, 1):
            permissions = COMMANDS[line.split()[0]].permissions
            if missing.short in permissions.get(missing.action, ()):
                return number
        return START
    topic = missing.short.rpartition("/jobs/")[2].removesuffix("/*")
    if missing.action == "iot:Connect" or (missing.action == "iot:Subscribe" and "notify" in topic):
        return START
    return FAILING_LINE[topic]


def _named(missing: Permission, thing: str) -> list[str]:
    """The words of a message that name the permission, with the real job and client id."""
    resource = (
        missing.short.replace("<thingname>", thing)
        .replace("job/*", f"job/{thing}")
        .replace("test-*", "test-")
    )
    if missing.policy == "control-plane-policy":
        return [f"{missing.action} on ", resource]
    return [f"{missing.action} on {resource}"]
