"""The device SDK's own shapes become the service's JSON, and nothing that was sent is lost."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from awsiot import iotjobs
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.blocks import Block
from jobs_sandbox.data_plane.messages import readable, unreadable

SUMMARY = {
    "executionNumber": 1,
    "jobId": "Job1",
    "lastUpdatedAt": 1748981622,
    "queuedAt": 1748981622,
    "versionNumber": 1,
}
EXECUTION = SUMMARY | {"jobDocument": {"Todo": "Reboot"}, "status": "QUEUED"}
ABSENT = {"startedAt": None, "statusDetails": None, "thingName": None}


def shown(shape_name: str, payload: Any) -> Any:
    """What is shown of a payload that the SDK takes for this shape."""
    shape = getattr(iotjobs, shape_name).from_payload(payload)
    answer = readable("T", shape, json.dumps(payload).encode())
    assert answer.note == ""
    return answer.body


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place whose clocks change."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("shape", "payload"),
    [
        ("JobExecutionsChangedEvent", {"jobs": {"QUEUED": [SUMMARY], "IN_PROGRESS": [SUMMARY]}, "timestamp": 1}),
        ("JobExecutionsChangedEvent", {"jobs": {}, "timestamp": 1748981622}),
        ("NextJobExecutionChangedEvent", {"timestamp": 1748981622}),
        ("GetPendingJobExecutionsResponse", {"clientToken": "c", "inProgressJobs": [], "queuedJobs": [SUMMARY]}),
        ("StartNextJobExecutionResponse", {"clientToken": "c", "timestamp": 1748981622}),
        ("DescribeJobExecutionResponse", {"clientToken": "c", "timestamp": 1748981622}),
        ("V2ErrorResponse", {"code": "ResourceNotFound", "message": "no", "clientToken": "c", "timestamp": 1}),
        (
            "V2ErrorResponse",
            {
                "code": "InvalidStateTransition",
                "message": "no",
                "executionState": {"status": "FAILED", "versionNumber": 2},
            },
        ),
    ],
)
def test_absent_fields_are_left_out(shape: str, payload: dict[str, Any]) -> None:
    """Every response and event shows what was sent, times as whole seconds, and nothing that was not."""
    assert shown(shape, payload) == payload


@pytest.mark.parametrize(
    "shape", ["NextJobExecutionChangedEvent", "StartNextJobExecutionResponse", "DescribeJobExecutionResponse"]
)
def test_execution_shows_absent_fields_as_null(shape: str) -> None:
    """An execution that carries a job document shows its absent fields as null, as the spec does."""
    payload = {"execution": EXECUTION, "timestamp": 1748981622}
    assert shown(shape, payload) == {"execution": EXECUTION | ABSENT, "timestamp": 1748981622}


def test_absent_job_document() -> None:
    """Of an execution without a job document, that field alone is left out."""
    execution = {"jobId": "Job1", "status": "QUEUED"}
    body = shown("DescribeJobExecutionResponse", {"execution": execution})
    nulls = ["executionNumber", "lastUpdatedAt", "queuedAt", "startedAt", "statusDetails", "thingName", "versionNumber"]
    assert body == {"execution": execution | dict.fromkeys(nulls)}


def test_update_response() -> None:
    """An update's response shows an absent state as null, and no job document, as the spec does."""
    payload = {"clientToken": "c", "timestamp": 1748981892}
    assert shown("UpdateJobExecutionResponse", payload) == payload | {"executionState": None}


def test_full_update_response() -> None:
    """An update's response shows the state and the document where the service sends them."""
    payload = {
        "clientToken": "c",
        "executionState": {"status": "IN_PROGRESS", "statusDetails": {"at": "5 %"}, "versionNumber": 2},
        "jobDocument": {"Todo": None},
        "timestamp": 1748981892,
    }
    assert shown("UpdateJobExecutionResponse", payload) == payload


def test_job_document_is_left_alone() -> None:
    """Names and nulls within a job document are the user's own."""
    document: dict[str, object] = {"snake_case": None, "camelCase": [{"x_y": 1.5}], "deep": {"a": {}}}
    body = shown("DescribeJobExecutionResponse", {"execution": EXECUTION | {"jobDocument": document}})
    assert body["execution"]["jobDocument"] == document


def test_status_details() -> None:
    """Status details keep their names."""
    details = {"my_step": "1", "Other": "2"}
    body = shown("DescribeJobExecutionResponse", {"execution": EXECUTION | {"statusDetails": details}})
    assert body["execution"]["statusDetails"] == details


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize("epoch", [1762061400, 1762065000, 1741503599, 1741503600, 0, 1748981622])
def test_times_in_a_clock_change(epoch: int) -> None:
    """Times are the epoch seconds that were sent, in the hour that a clock change repeats as well."""
    assert shown("NextJobExecutionChangedEvent", {"timestamp": epoch}) == {"timestamp": epoch}


def test_times_are_whole() -> None:
    """A time sent with a fraction is shown as whole seconds."""
    assert shown("NextJobExecutionChangedEvent", {"timestamp": 1748981622.987}) == {"timestamp": 1748981622}


def test_unknown_fields_are_put_back() -> None:
    """Fields that the SDK's model does not know are shown, at every level."""
    payload = {
        "new": 1,
        "jobs": {"QUEUED": [SUMMARY | {"newer": [2]}, SUMMARY], "NEW_STATUS": [SUMMARY | {"x": None}]},
        "timestamp": 1,
    }
    assert shown("JobExecutionsChangedEvent", payload) == payload
    execution = {"execution": EXECUTION | {"approximateSecondsBeforeTimedOut": 5}, "more": {"a": []}}
    body = shown("NextJobExecutionChangedEvent", execution)
    assert body == {"execution": EXECUTION | ABSENT | {"approximateSecondsBeforeTimedOut": 5}, "more": {"a": []}}


def test_no_payload() -> None:
    """Without the payload, what the model holds is shown."""
    shape = iotjobs.NextJobExecutionChangedEvent.from_payload({"timestamp": 5})
    assert readable("T", shape, b"") == Block("T", {"timestamp": 5}, b"", "")


@pytest.mark.parametrize("wrong", [1, True, "x", 1.5, [], [1], {"a": 1}, None])
def test_wrong_types_are_shown(wrong: object) -> None:
    """A field of the wrong type that the SDK lets through is shown as it was sent."""
    body = shown("DescribeJobExecutionResponse", {"clientToken": wrong, "execution": {"jobId": wrong}})
    assert (body.get("clientToken"), body["execution"]["jobId"]) == (wrong, wrong)


def test_a_shape_that_cannot_be_read() -> None:
    """What breaks the conversion is shown raw with the reason, not raised."""
    shape = iotjobs.NextJobExecutionChangedEvent.from_payload({"timestamp": 5})
    answer = readable("T", shape, b"\xff{")
    assert (answer.body, answer.payload) == (None, b"\xff{")
    assert answer.note.startswith("not what AWS IoT Jobs documents: UnicodeDecodeError: ")


@pytest.mark.parametrize("payload", [b"", b"nonsense", b"[1]", b'"text"', b"\xff", b"[" * 100_000, b"1" * 5000])
def test_unreadable(payload: bytes) -> None:
    """A payload that is no JSON object has no body, and its bytes and the reason are kept."""
    note = "not what AWS IoT Jobs documents: TypeError: no"
    assert unreadable("T", payload, TypeError("no")) == Block("T", None, payload, note)


def test_unreadable_object() -> None:
    """A JSON object that does not fit the model is still shown as JSON."""
    payload = b'{"jobs": "wrong"}'
    answer = unreadable("T", payload, AttributeError("items"))
    assert answer.body == {"jobs": "wrong"}
    assert "AttributeError: items" in answer.note


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["jobs", "execution", "executionState", "queuedJobs", "inProgressJobs", "jobDocument", "status"]
)


@given(
    st.sampled_from(
        [
            "JobExecutionsChangedEvent",
            "NextJobExecutionChangedEvent",
            "GetPendingJobExecutionsResponse",
            "UpdateJobExecutionResponse",
            "V2ErrorResponse",
        ]
    ),
    st.dictionaries(names, json_values | st.dictionaries(names, json_values), max_size=4),
)
def test_nothing_raises(shape_name: str, payload: dict[str, Any]) -> None:
    """Whatever the SDK makes of a payload is shown with every field that was sent."""
    try:
        shape = getattr(iotjobs, shape_name).from_payload(payload)
    except Exception as error:  # the SDK then reports a deserialization failure
        answer = unreadable("T", json.dumps(payload).encode(), error)
    else:
        answer = readable("T", shape, json.dumps(payload).encode())
    assert answer.body is not None
    assert answer.body.keys() >= payload.keys()
