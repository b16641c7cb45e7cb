"""Reads, fills in and checks the policies that the embedded AWS IoT enforces."""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.text import parse_json
from jobs_sandbox.local import ACCOUNT, REGION

LONGEST = 2048
"""Characters in a policy document, without blanks ("Policy document size", AWS IoT Core quotas)."""

# An action or a resource without a name: ``iot:*``, ``*``, or an ARN that ends with ``:topic/*``.
_EVERYTHING = re.compile(r"(?:.*:)?(?:(?:topic|topicfilter|client)/)?[*#+?/]+")


def shipped_policy(name: str) -> str:
    """A shipped policy, ``device-policy`` or ``control-plane-policy``, with its placeholders."""
    shipped = files("jobs_sandbox") / "policies"
    folder = shipped if shipped.is_dir() else Path(__file__).parents[3] / "policies"
    return (folder / f"{name}.json").read_text(encoding="utf-8")


def fill_in(policy: str, *, thing: str, region: str = REGION, account: str = ACCOUNT) -> str:
    """A policy with its placeholders ``<region>``, ``<account>`` and ``<thingname>`` filled in."""
    return (
        policy.replace("<region>", region)
        .replace("<account>", account)
        .replace("<thingname>", thing)
    )


def device_policy_for(thing: str, policy: str | None) -> str:
    """A device policy, or the shipped one, filled in for a thing.

    Raises:
        StartError: AWS IoT would refuse it.

    """
    if policy is None:
        policy = shipped_policy("device-policy")
        longest = (LONGEST - _length(fill_in(policy, thing=""))) // policy.count("<thingname>")
        if len(thing) > longest:
            raise StartError(
                f"the thing name is too long for the shipped device policy: {len(thing)} "
                "characters",
                cause=f"the policy names the thing several times, and has {LONGEST:,} characters "
                "at most",
                next_step=f"a name of at most {longest} characters, or a shorter policy with "
                "--policy.",
            )
    text = fill_in(policy, thing=thing)
    if flaw := policy_flaw(text):
        raise StartError(
            f"the device policy cannot be used: {flaw}",
            cause="AWS IoT would refuse it as well",
            next_step="correct it; policies/device-policy.json is one that works.",
        )
    return text


def read_policy(path: str) -> str:
    """The device policy in a file, with its placeholders.

    Raises:
        StartError: it cannot be read.

    """
    file = Path(path)
    try:
        # To open a named pipe may take for ever.
        if not file.is_fifo():
            return file.read_text(encoding="utf-8")
        reason = "it is a pipe, not a file"
    except OSError as error:
        reason = str(error.strerror)
    except UnicodeDecodeError as error:
        reason = f"it is not UTF-8: {error.reason} at byte {error.start}"
    raise StartError(
        f"the device policy {path!r} cannot be read: {reason}",
        next_step="check the path after --policy.",
    )


def policy_flaw(policy: str) -> str:
    """Why CreatePolicy refuses a policy document, as far as AWS documents that, or ``""``."""
    if (length := _length(policy)) > LONGEST:
        return f"without blanks it has {length:,} characters, and {LONGEST:,} are the limit"
    try:
        document = parse_json(policy)
    except ValueError as error:
        return f"it is not JSON: {error}"
    statements = document.get("Statement") if isinstance(document, dict) else None
    for statement in (isinstance(statements, list) and statements) or [statements]:
        if not isinstance(statement, dict):
            return 'it has no "Statement" that is an object, or a list of them'
        if statement.get("Effect") not in ("Allow", "Deny"):
            return f'"Effect" must be "Allow" or "Deny", not {json.dumps(statement.get("Effect"))}'
        for name in ("Action", "Resource"):
            values = statement.get(name)
            if not values or not all(isinstance(value, str) for value in _as_list(values)):
                return f'a statement has no "{name}" that is text, or a list of texts'
        if not _is_condition(statement.get("Condition", {})):
            return '"Condition" must be {operator: {key: value}}, where a value may be a list'
    return ""


def wildcards(policy: str) -> list[str]:
    """The actions and resources of a device policy that stand for everything of their kind.

    A wildcard for job ids or client ids of one thing is not among them.
    """
    found: dict[str, None] = {}
    statements: list[Any] = _as_list(json.loads(policy)["Statement"])
    for statement in statements:
        if statement["Effect"] == "Allow":
            for value in [*_as_list(statement["Action"]), *_as_list(statement["Resource"])]:
                if _EVERYTHING.fullmatch(value):
                    found[value] = None
    return [*found]


def _length(policy: str) -> int:
    return sum(not character.isspace() for character in policy)


def _is_condition(condition: object) -> bool:
    if not isinstance(condition, dict):
        return False
    return all(
        isinstance(keys, dict)
        and all(
            isinstance(value, str | bool | int | float)
            for values in keys.values()
            for value in _as_list(values)
        )
        for keys in condition.values()
    )


def _as_list(values: object) -> list[Any]:
    return values if isinstance(values, list) else [values]
