"""Makes blocks of messages: the service's own JSON, checked against the device SDK's models."""

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
# The fields that are shown as null where they are absent, as the Swift sample shows them. The job
# document is not among them.
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

    A message that is not as AWS IoT Jobs documents it
    (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html) gets a note that
    says why. Its block has the JSON if it is a JSON object, else only the bytes.
    """
    body = None
    try:
        body = parse_json(payload)
        _MODELS[title].from_payload(body)
    # The models raise errors of many types.
    except Exception as error:
        note = f"not what AWS IoT Jobs documents: {type(error).__name__}: {error}"
        return Block(title, body if isinstance(body, dict) else None, payload, note)
    return Block(title, _sorted(_with_nulls(title, body)), payload)


def _with_nulls(title: str, body: dict[str, Any]) -> dict[str, Any]:
    if title == UPDATE:
        return dict.fromkeys(_UPDATE) | body
    if title in (START_NEXT, DESCRIBE, NEXT_CHANGED) and isinstance(body.get("execution"), dict):
        return body | {"execution": dict.fromkeys(_EXECUTION) | body["execution"]}
    return body


def _sorted(value: Any) -> Any:
    """The same JSON with its keys in alphabetical order, except within a job document."""
    if isinstance(value, dict):
        return {
            key: value[key] if key == "jobDocument" else _sorted(value[key])
            for key in sorted(value)
        }
    return [_sorted(item) for item in value] if isinstance(value, list) else value
