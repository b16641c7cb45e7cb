"""The shipped policies allow what the commands and ensuring the thing need, as AWS documents it; nothing more."""

import json
import re
from typing import Any

import pytest

from jobs_sandbox.local.policies import LONGEST
from tests.support.readme import ROOT, table

POLICIES = ROOT / "policies"
ARN = "arn:aws:iot:<region>:<account>:"
TOPIC = f"{ARN}topic/$aws/things/<thingname>/jobs/"
FILTER = f"{ARN}topicfilter/$aws/things/<thingname>/jobs/"
RESPONSES = ["notify", "notify-next", "start-next/*", "*/update/*", "get/*", "*/get/*"]
JOBS = [f"{ARN}job/*", f"{ARN}thing/<thingname>"]


def statement(action: str | list[str], resource: str | list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


@pytest.mark.parametrize(
    ("name", "statements"),
    [
        (
            "device-policy",
            [
                statement(
                    "iot:Publish",
                    [f"{TOPIC}{end}" for end in ("start-next", "*/update", "*/get", "get")],
                ),
                statement("iot:Receive", [f"{TOPIC}{end}" for end in RESPONSES]),
                statement("iot:Subscribe", [f"{FILTER}{end}" for end in RESPONSES]),
                statement("iot:Connect", f"{ARN}client/test-*"),
            ],
        ),
        (
            "control-plane-policy",
            [
                statement("iot:CreateJob", JOBS),
                statement(["iot:DeleteJob", "iot:CancelJob"], f"{ARN}job/*"),
                statement("iot:DescribeJobExecution", JOBS),
                statement(["iot:DescribeThing", "iot:CreateThing"], f"{ARN}thing/<thingname>"),
            ],
        ),
    ],
)
def test_policy(name: str, statements: list[dict[str, Any]]) -> None:
    """Each policy allows exactly these actions on these resources.

    Of the control plane's, those on jobs are checked against the resources that "Authorizing users and cloud services"
    of the developer guide lists: CreateJob also on its targets, DeleteJob and CancelJob on the job alone.
    """
    policy = json.loads((POLICIES / f"{name}.json").read_text())
    assert policy == {"Version": "2012-10-17", "Statement": statements}


def test_no_other_policy() -> None:
    """There are two policies."""
    assert sorted(path.name for path in POLICIES.iterdir()) == [
        "control-plane-policy.json",
        "device-policy.json",
    ]


def test_how_long_a_thing_may_be_called() -> None:
    """The pages say how long a thing's name may be for the filled-in device policy to fit, as it is in each region."""
    rows = table("How long a device policy may be", "region")
    told = {
        region: int(row[1].split()[0])
        for row in rows
        for region in re.findall(r"`([\w-]+)`", row[0])
    }
    assert len(told) > 5
    text = "".join((POLICIES / "device-policy.json").read_text().split())
    for region, longest in told.items():
        filled = text.replace("<region>", region).replace("<account>", "123456789012")
        assert (LONGEST - len(filled.replace("<thingname>", ""))) // filled.count(
            "<thingname>"
        ) == longest, region
    page = (ROOT / "docs" / "aws-account.md").read_text()
    assert f"{min(told.values())} to {max(told.values())} characters" in page
