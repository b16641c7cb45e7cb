"""The permissions that the shipped policies grant, one by one."""

import json
from typing import NamedTuple

from jobs_sandbox.local.policies import shipped_policy


class Permission(NamedTuple):
    """One action on one resource, as a shipped policy grants it."""

    policy: str
    action: str
    resource: str

    @property
    def short(self) -> str:
        """The resource without ``arn:aws:iot:<region>:<account>:``; ``*`` as it is."""
        return self.resource.split(":", 5)[-1]


def shipped(policy: str) -> list[Permission]:
    """The permissions of a shipped policy, ``device-policy`` or ``control-plane-policy``."""
    return [
        Permission(policy, action, resource)
        for statement in json.loads(shipped_policy(policy))["Statement"]
        for action in _list(statement["Action"])
        for resource in _list(statement["Resource"])
    ]


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
