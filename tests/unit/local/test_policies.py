"""Policies are filled in, and a device policy that AWS IoT would refuse is refused."""

import json
from pathlib import Path

import pytest

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.local.policies import (
    check_device_policy,
    fill_in,
    read_policy,
    shipped_policy,
    unusable,
)

ALLOW = {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}


def policy(**changes: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [ALLOW | changes]})


@pytest.mark.parametrize("name", ["device-policy", "control-plane-policy"])
def test_shipped_policies(name: str) -> None:
    """Filled in, the shipped policies are JSON without placeholders, for the thing and the account that is played."""
    text = fill_in(shipped_policy(name), thing="Lamp")
    assert json.loads(text)["Statement"]
    assert "<" not in text
    assert "arn:aws:iot:us-east-1:000000000000:" in text
    assert "/Lamp" in text


def test_the_shipped_device_policy_can_be_used() -> None:
    """The shipped device policy passes its own check."""
    check_device_policy(fill_in(shipped_policy("device-policy"), thing="SandboxThing"))


def test_a_single_statement_and_lists() -> None:
    """A statement alone, and lists of actions and resources, are policies too."""
    check_device_policy(
        json.dumps({"Statement": ALLOW | {"Action": ["iot:Connect"], "Resource": ["*", "a"]}})
    )


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("{", "it is not JSON: "),
        ("[]", 'it has no "Statement"'),
        ('{"Statement": []}', 'it has no "Statement"'),
        ('{"Statement": "all"}', 'it has no "Statement"'),
        (policy(Effect="allow"), '"Effect" must be "Allow" or "Deny", not "allow"'),
        (policy(Action=None), 'a statement has no "Action"'),
        (policy(Resource=[]), 'a statement has no "Resource"'),
        (policy(Resource=["*", 5]), 'a statement has no "Resource"'),
    ],
)
def test_a_policy_that_is_refused(text: str, flaw: str) -> None:
    """What is no policy is refused, and why."""
    with pytest.raises(StartError) as caught:
        check_device_policy(text)
    assert f"the device policy cannot be used: {flaw}" in caught.value.message


def test_the_longest_policy() -> None:
    """2,048 characters without blanks are allowed, whatever the blanks; one more is not."""
    fitting = policy(Resource="x" * (2048 - len(policy(Resource="").replace(" ", ""))))
    check_device_policy(fitting.replace(" ", " \n\t " * 999))
    with pytest.raises(
        StartError, match="without blanks it has 2,049 characters, and 2,048 are the limit"
    ):
        check_device_policy(fitting.replace("iot:Connect", "iot:Connect*"))


def test_a_refusal_has_a_next_step() -> None:
    """A policy that MiniStack itself refuses is told in the same way."""
    error = unusable("MiniStack refuses it: because")
    assert error.message == "the device policy cannot be used: MiniStack refuses it: because"
    assert "policies/device-policy.json" in error.next_step


def test_a_policy_in_a_file(tmp_path: Path) -> None:
    """A file's text is the policy, placeholders and all."""
    (tmp_path / "policy.json").write_text('{"Sid": "<thingname> é"}', encoding="utf-8")
    assert read_policy(str(tmp_path / "policy.json")) == '{"Sid": "<thingname> é"}'


def test_a_file_that_holds_no_policy(tmp_path: Path) -> None:
    """A file that is not there, a folder, bytes that are no text and an endless file are told, by their path."""
    with pytest.raises(StartError, match="'missing' cannot be read: No such file or directory"):
        read_policy("missing")
    with pytest.raises(StartError, match="cannot be read: Is a directory"):
        read_policy(str(tmp_path))
    (tmp_path / "bytes").write_bytes(b'{"Sid": "\xff"}')
    with pytest.raises(StartError, match="bytes is not UTF-8: invalid start byte at byte 9"):
        read_policy(str(tmp_path / "bytes"))
    with pytest.raises(StartError, match="/dev/zero has more than 1,000,000 bytes"):
        read_policy("/dev/zero")
