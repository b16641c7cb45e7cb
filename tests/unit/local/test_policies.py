"""Policies are filled in, and a device policy that AWS IoT would refuse is refused."""

import json
import os
from pathlib import Path

import pytest

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.local.policies import device_policy_for, policy_flaw, read_policy, wildcards

ALLOW = {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}


def policy(**changes: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [ALLOW | changes]})


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"Statement": ALLOW | {"Action": ["iot:Connect"], "Resource": ["*", "a"]}}),
        policy(Condition={"Bool": {"iot:Connection.Thing.IsAttached": [True]}}),
    ],
)
def test_a_policy_that_can_be_used(text: str) -> None:
    """Single statements, lists and conditions are accepted."""
    assert policy_flaw(text) == ""


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"Resource": "*"}, ["*"]),
        ({"Action": ["iot:*"], "Resource": "arn:aws:iot:r:1:client/test-*"}, ["iot:*"]),
        ({"Resource": ["arn:aws:iot:r:1:topic/*"] * 2}, ["arn:aws:iot:r:1:topic/*"]),
        ({"Resource": "arn:aws:iot:r:1:topicfilter/#"}, ["arn:aws:iot:r:1:topicfilter/#"]),
        ({"Resource": "arn:aws:iot:r:1:topic/$aws/things/T/jobs/*"}, []),
        ({"Effect": "Deny"}, []),
    ],
)
def test_wildcards(changes: dict[str, object], found: list[str]) -> None:
    """What stands for all actions or resources is found; the shipped policy has none."""
    assert wildcards(policy(**changes)) == found
    assert wildcards(device_policy_for("Lamp", None)) == []


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("{", "it is not JSON: "),
        ("[]", 'it has no "Statement"'),
        ('{"Statement": []}', 'it has no "Statement"'),
        ('{"Statement": "all"}', 'it has no "Statement"'),
        (policy(Effect="allow"), '"Effect" must be "Allow" or "Deny", not "allow"'),
        (policy(Action=None), 'a statement has no "Action"'),
        (policy(Resource=["*", 5]), 'a statement has no "Resource"'),
        (policy(Condition="Bool"), '"Condition" must be'),
        (policy(Condition={"Bool": "true"}), '"Condition" must be'),
        (policy(Condition={"Bool": {"key": None}}), '"Condition" must be'),
    ],
)
def test_a_policy_that_is_refused(text: str, flaw: str) -> None:
    """A text that is not a policy is refused, with the reason."""
    assert policy_flaw(text).startswith(flaw)
    with pytest.raises(StartError, match="the device policy cannot be used: "):
        device_policy_for("Lamp", text)


def test_the_longest_policy() -> None:
    """2,048 characters without blanks are allowed, whatever the blanks; one more is not."""
    fitting = policy(Resource="x" * (2048 - len(policy(Resource="").replace(" ", ""))))
    assert policy_flaw(fitting.replace(" ", " \n\t " * 999)) == ""
    assert "it has 2,049 characters" in policy_flaw(fitting.replace("Connect", "Connect*"))


def test_the_longest_thing_name() -> None:
    """A thing name that is too long for the shipped policy is named, with the length that fits."""
    with pytest.raises(StartError, match="too long for .*: 40 characters") as caught:  # noqa: RUF043
        device_policy_for("x" * 40, None)
    longest = int(caught.value.next_step.split()[5])
    assert f"topic/$aws/things/{'x' * longest}/jobs/get" in device_policy_for("x" * longest, None)
    with pytest.raises(StartError):
        device_policy_for("x" * (longest + 1), None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file or directory"),
        ("folder", "Is a directory"),
        ("bytes", "it is not UTF-8: invalid start byte at byte 9"),
        ("pipe", "it is a pipe"),
    ],
)
def test_a_file_that_holds_no_policy(name: str, reason: str, tmp_path: Path) -> None:
    """The reason why a file cannot be used is given at once, with its path."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b'{"Sid": "\xff"}')
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartError, match=f"{name}' cannot be read: .*{reason}"):
        read_policy(str(tmp_path / name))
    (tmp_path / "policy.json").write_text("é", encoding="utf-8")
    assert read_policy(str(tmp_path / "policy.json")) == "é"
