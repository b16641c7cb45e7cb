"""The policies that the embedded AWS IoT enforces: the shipped ones, or a device policy of the user's."""

import json
from importlib.resources import files
from pathlib import Path

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.text import parse_json
from jobs_sandbox.local import ACCOUNT, REGION

LONGEST = (
    2048  # characters without blanks, as AWS counts: "Policy document size", AWS IoT Core quotas
)
_LARGEST = 1_000_000  # bytes of a file with a policy; blanks do not count as its length


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


def read_policy(path: str) -> str:
    """The device policy in a file, with its placeholders.

    Raises:
        StartError: it cannot be read, or is no text of a sensible size.

    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise unusable(f"{path} has more than {_LARGEST:,} bytes")
        return content.decode()
    except OSError as error:
        raise StartError(
            f"the device policy {path!r} cannot be read: {error.strerror}",
            next_step="check the path after --policy.",
        ) from error
    except UnicodeDecodeError as error:
        raise unusable(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


def check_device_policy(policy: str) -> None:
    """Check what AWS IoT checks when a device policy is created (CreatePolicy), as far as that is documented.

    Raises:
        StartError: it would be refused with MalformedPolicyException, and why.

    """
    if flaw := _flaw(policy):
        raise unusable(flaw)


def unusable(flaw: str) -> StartError:
    """The error of a device policy that is refused."""
    return StartError(
        f"the device policy cannot be used: {flaw}",
        cause="AWS IoT would refuse it as well",
        next_step="correct it; policies/device-policy.json is one that works.",
    )


def _flaw(policy: str) -> str:
    length = sum(not character.isspace() for character in policy)
    if length > LONGEST:
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
    return ""


def _as_list(values: object) -> list[object]:
    return values if isinstance(values, list) else [values]
