"""The bytes of a message → a Block: the service's own JSON, checked against the device SDK's model."""

from typing import Any

from awsiot import iotjobs

from jobs_sandbox.core.blocks import (
    CHANGED,
    DESCRIBE,
    GET_PENDING,
    NEXT_CHANGED,
    REJECTED,
    START_NEXT,
    UPDATE,
    Block,
)
from jobs_sandbox.core.text import parse_json

_MODELS = {
    CHANGED: iotjobs.JobExecutionsChangedEvent,
    NEXT_CHANGED: iotjobs.NextJobExecutionChangedEvent,
    GET_PENDING: iotjobs.GetPendingJobExecutionsResponse,
    START_NEXT: iotjobs.StartNextJobExecutionResponse,
    DESCRIBE: iotjobs.DescribeJobExecutionResponse,
    UPDATE: iotjobs.UpdateJobExecutionResponse,
    REJECTED: iotjobs.V2ErrorResponse,
}
# The fields around a job document are shown as null where they are absent, as the Swift sample shows them; the job
# document itself is not.
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
    """What a message says, as a block of this title; it never raises.

    What is not as AWS IoT Jobs documents it is shown all the same, with a note that says why: as JSON if it is a JSON
    object, else as it came (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html).
    """
    body = None
    try:
        body = parse_json(payload, strict=False)
        _MODELS[title].from_payload(body)
    except Exception as error:  # whatever the network sent and the model makes of it
        note = f"not what AWS IoT Jobs documents: {type(error).__name__}: {error}"
        return Block(title, body if isinstance(body, dict) else None, payload, note)
    return Block(title, _sorted(_with_nulls(title, body)), payload)


def client_token(payload: bytes) -> str | None:
    """The client token in an answer; None where it is missing or unreadable."""
    try:
        body = parse_json(payload, strict=False)
    except ValueError:
        return None
    token = body.get("clientToken") if isinstance(body, dict) else None
    return token if isinstance(token, str) else None


def _with_nulls(title: str, body: dict[str, Any]) -> dict[str, Any]:
    if title == UPDATE:
        return dict.fromkeys(_UPDATE) | body
    if title in (START_NEXT, DESCRIBE, NEXT_CHANGED) and isinstance(body.get("execution"), dict):
        return body | {"execution": dict.fromkeys(_EXECUTION) | body["execution"]}
    return body


def _sorted(value: Any) -> Any:
    """The same JSON with its keys in alphabetical order, at every level but within a job document."""
    if isinstance(value, dict):
        return {
            key: value[key] if key == "jobDocument" else _sorted(value[key])
            for key in sorted(value)
        }
    return [_sorted(item) for item in value] if isinstance(value, list) else value
