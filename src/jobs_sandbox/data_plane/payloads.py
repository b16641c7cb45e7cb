"""Makes blocks of messages, with the service's own JSON."""

from typing import Any

from jobs_sandbox.core.blocks import DESCRIBE, NEXT_CHANGED, START_NEXT, UPDATE, Block
from jobs_sandbox.core.text import parse_json

# Blocks show these fields as null where they are absent, as the Swift sample does.
_EXECUTION = (
    "executionNumber",
    "jobId",
    "lastUpdatedAt",
    "queuedAt",
    "startedAt",
    "status",
    "statusDetails",
    "thingName",
    "versionNumber",
)
_UPDATE = ("clientToken", "executionState", "timestamp")


def to_block(title: str, payload: bytes) -> Block:
    """A block of this title with the content of a message; it never raises.

    Every message of AWS IoT Jobs is a JSON object
    (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html). The block of another
    one has its bytes, and a note that says why.
    """
    reason = "it is not a JSON object"
    try:
        body = parse_json(payload)
        if isinstance(body, dict):
            return Block(title, _with_nulls(title, body), payload)
    except ValueError as error:
        reason = str(error)
    return Block(title, None, payload, f"not what AWS IoT Jobs documents: {reason}")


def _with_nulls(title: str, body: dict[str, Any]) -> dict[str, Any]:
    if title == UPDATE:
        return dict.fromkeys(_UPDATE) | body
    if title in (START_NEXT, DESCRIBE, NEXT_CHANGED) and isinstance(body.get("execution"), dict):
        return body | {"execution": dict.fromkeys(_EXECUTION) | body["execution"]}
    return body
