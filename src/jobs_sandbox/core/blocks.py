"""Blocks of output, and their titles."""

from typing import Any, NamedTuple

# Answers of the control plane
CREATE_JOB = "CreateJobOutput"
DELETE_JOB = "DeleteJobOutput"
CANCEL_JOB = "CancelJobOutput"
JOB_EXECUTION = "DescribeJobExecutionOutput"

# Answers of the data plane
GET_PENDING = "GetPendingJobExecutionsResponse"
START_NEXT = "StartNextJobExecutionResponse"
DESCRIBE = "DescribeJobExecutionResponse"
UPDATE = "UpdateJobExecutionResult"
REJECTED = "Service Request Rejected"

# Events
CHANGED = "JobExecutionsChangedEvent"
NEXT_CHANGED = "NextJobExecutionChangedEvent"
EVENTS = (CHANGED, NEXT_CHANGED)

# The program's own
CONNECTION = "Connection"
DIAGNOSIS = "Diagnosis"
DEVICE_ACTIVITY = "DeviceActivity"
SCENARIO = "Scenario"
SUMMARY = "Summary"
HELP = "Help"

TOPICS = {
    GET_PENDING: "get",
    START_NEXT: "start-next",
    DESCRIBE: "*/get",
    UPDATE: "*/update",
    CHANGED: "notify",
    NEXT_CHANGED: "notify-next",
}
"""The topics of requests and events below ``$aws/things/<thing>/jobs/``; ``*``: the job id.

https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html
"""


class Block(NamedTuple):
    """An answer or an event of a service, or something the program shows in the same form.

    Attributes:
        title: the name of its shape, shown in its header.
        body: its JSON, with the service's field names; None if it cannot be parsed.
        payload: its bytes as they came over MQTT, shown if the body is None.
        note: one line about it for the user, or ``""``.

    """

    title: str
    body: dict[str, Any] | None
    payload: bytes = b""
    note: str = ""

    def with_note(self, note: str) -> "Block":
        """A copy with this note before the one that it has."""
        return self._replace(note=f"{note}; {self.note}" if self.note else note)
