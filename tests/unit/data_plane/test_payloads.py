"""Messages become blocks: the service's own JSON, and nothing that was sent is lost."""

import json
from typing import Any

import pytest
from awsiot import iotjobs
from hypothesis import given
from hypothesis import strategies as st

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
from jobs_sandbox.data_plane.payloads import client_token, to_block

TITLES = [CHANGED, NEXT_CHANGED, GET_PENDING, START_NEXT, DESCRIBE, UPDATE, REJECTED]
AROUND_A_DOCUMENT = [NEXT_CHANGED, START_NEXT, DESCRIBE]
SUMMARY = {
    "executionNumber": 1,
    "jobId": "Job1",
    "lastUpdatedAt": 1748981622,
    "queuedAt": 1748981622,
    "versionNumber": 1,
}
EXECUTION = SUMMARY | {"jobDocument": {"Todo": "Reboot"}, "status": "QUEUED"}
ABSENT = {"startedAt": None, "statusDetails": None, "thingName": None}


def shown(title: str, payload: Any) -> Any:
    """What is shown of a payload that fits the model."""
    block = to_block(title, json.dumps(payload).encode())
    assert block.note == ""
    return block.body


@pytest.mark.parametrize(
    ("title", "payload"),
    [
        (CHANGED, {"jobs": {"QUEUED": [SUMMARY], "IN_PROGRESS": [SUMMARY]}, "timestamp": 1}),
        (CHANGED, {"jobs": {}, "timestamp": 1748981622}),
        (NEXT_CHANGED, {"timestamp": 1748981622}),
        (GET_PENDING, {"clientToken": "c", "inProgressJobs": [], "queuedJobs": [SUMMARY]}),
        (START_NEXT, {"clientToken": "c", "timestamp": 1748981622}),
        (DESCRIBE, {"clientToken": "c", "timestamp": 1748981622}),
        (DESCRIBE, {"clientToken": "c", "execution": None}),
        (
            REJECTED,
            {"code": "ResourceNotFound", "message": "no", "clientToken": "c", "timestamp": 1},
        ),
        (
            REJECTED,
            {
                "code": "InvalidStateTransition",
                "message": "no",
                "executionState": {"status": "FAILED", "versionNumber": 2},
            },
        ),
    ],
)
def test_absent_fields_are_left_out(title: str, payload: dict[str, Any]) -> None:
    """Every response and event shows what was sent, and nothing that was not."""
    assert shown(title, payload) == payload


@pytest.mark.parametrize("title", AROUND_A_DOCUMENT)
def test_execution_shows_absent_fields_as_null(title: str) -> None:
    """An execution that carries a job document shows its absent fields as null, as the spec does."""
    payload = {"execution": EXECUTION, "timestamp": 1748981622}
    assert shown(title, payload) == {"execution": EXECUTION | ABSENT, "timestamp": 1748981622}


@pytest.mark.parametrize("title", AROUND_A_DOCUMENT)
def test_absent_job_document(title: str) -> None:
    """Of an execution without a job document, that field alone is left out; a null that was sent is shown."""
    fields = [name for name in iotjobs.JobExecutionData.__slots__ if name != "job_document"]
    assert shown(title, {"execution": {}}) == {"execution": dict.fromkeys(map(_camel_case, fields))}
    assert "jobDocument" in shown(title, {"execution": {"jobDocument": None}})["execution"]


def test_update_response() -> None:
    """An update's response shows absent fields as null, but no job document, as the spec does."""
    payload = {"clientToken": "c", "timestamp": 1748981892}
    assert shown(UPDATE, payload) == payload | {"executionState": None}
    fields = [
        name for name in iotjobs.UpdateJobExecutionResponse.__slots__ if name != "job_document"
    ]
    assert shown(UPDATE, {}) == dict.fromkeys(map(_camel_case, fields))


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def test_full_update_response() -> None:
    """An update's response shows the state and the document where the service sends them, and adds nothing to them."""
    payload = {
        "clientToken": "c",
        "executionState": {"status": "IN_PROGRESS", "statusDetails": {"at": "5 %"}},
        "jobDocument": {"Todo": None},
        "timestamp": 1748981892,
    }
    assert shown(UPDATE, payload) == payload


def test_job_document_is_left_alone() -> None:
    """Names, nulls and their order within a job document are the user's own."""
    document: dict[str, object] = {
        "snake_case": None,
        "camelCase": [{"x_y": 1.5, "a": 1}],
        "deep": {"a": {}},
    }
    body = shown(DESCRIBE, {"execution": EXECUTION | {"jobDocument": document}})
    assert json.dumps(body["execution"]["jobDocument"]) == json.dumps(document)


def test_keys_are_in_alphabetical_order() -> None:
    """Fields are in alphabetical order at every level, whatever the order they came in, with the nulls among them."""
    payload = {
        "timestamp": 1,
        "execution": {"status": "QUEUED", "jobId": "J", "odd": [{"b": 1, "a": 2}]},
    }
    body = shown(DESCRIBE, payload)
    for level in (body, body["execution"], body["execution"]["odd"][0]):
        assert list(level) == sorted(level)


def test_status_details() -> None:
    """Status details keep their names."""
    details = {"my_step": "1", "Other": "2"}
    assert (
        shown(DESCRIBE, {"execution": EXECUTION | {"statusDetails": details}})["execution"][
            "statusDetails"
        ]
        == details
    )


@pytest.mark.parametrize("time", [1762061400, 1748981622.987, 0, -1, None])
def test_times_are_what_was_sent(time: float | None) -> None:
    """A time is shown as the service sends it: whole seconds, and a fraction should one come."""
    assert shown(NEXT_CHANGED, {"timestamp": time}) == {"timestamp": time}


def test_unknown_fields_are_shown() -> None:
    """Fields that AWS does not document are shown, at every level."""
    payload = {
        "new": 1,
        "jobs": {
            "QUEUED": [SUMMARY | {"newer": [2]}, SUMMARY],
            "NEW_STATUS": [SUMMARY | {"x": None}],
        },
        "timestamp": 1,
    }
    assert shown(CHANGED, payload) == payload
    execution = {
        "execution": EXECUTION | {"approximateSecondsBeforeTimedOut": 5},
        "more": {"a": []},
    }
    body = shown(NEXT_CHANGED, execution)
    assert body == {
        "execution": EXECUTION | ABSENT | {"approximateSecondsBeforeTimedOut": 5},
        "more": {"a": []},
    }


@pytest.mark.parametrize("wrong", [1, True, "x", 1.5, [], [1], {"a": 1}])
def test_wrong_types_are_shown(wrong: object) -> None:
    """A field of the wrong type that the model lets through is shown as it was sent, type included."""
    payload = {"clientToken": wrong, "executionState": {"status": wrong}, "timestamp": 1}
    assert json.dumps(shown(UPDATE, payload)) == json.dumps(payload)


@pytest.mark.parametrize(
    ("title", "payload", "reason"),
    [
        (CHANGED, {"jobs": []}, "AttributeError"),
        (CHANGED, {"jobs": {"QUEUED": ["Job1"]}}, "AttributeError"),
        (CHANGED, {"timestamp": "now"}, "TypeError"),
        (GET_PENDING, {"queuedJobs": 5}, "TypeError"),
        (NEXT_CHANGED, {"execution": [1]}, "AttributeError"),
        (DESCRIBE, {"execution": {"queuedAt": "now"}}, "TypeError"),
        (START_NEXT, {"timestamp": 1e300}, "OverflowError"),
        (UPDATE, {"executionState": "x"}, "AttributeError"),
        (REJECTED, {"executionState": "x"}, "AttributeError"),
    ],
)
def test_what_does_not_fit_the_model(title: str, payload: dict[str, Any], reason: str) -> None:
    """A JSON object that is not what AWS documents is shown as JSON, just as it is, with the reason."""
    block = to_block(title, json.dumps(payload).encode())
    assert block.body == payload
    assert block.note.startswith(f"not what AWS IoT Jobs documents: {reason}: ")


@pytest.mark.parametrize("title", TITLES)
@pytest.mark.parametrize(
    "payload",
    [b"", b"nonsense", b"[1]", b'"text"', b"null", b"\xff", b"\xff{", b"[" * 100_000, b"1" * 5000],
)
def test_no_object(title: str, payload: bytes) -> None:
    """A payload that is no JSON object has no body, and its bytes and the reason are kept."""
    block = to_block(title, payload)
    assert block == Block(title, None, payload, block.note)
    assert block.note.startswith("not what AWS IoT Jobs documents: ")


def test_too_deep() -> None:
    """A payload that is nested too deeply to be laid out is shown as it came."""
    payload = b'{"timestamp": 1, "deep": ' + b"[" * 100 + b"]" * 100 + b"}"
    assert to_block(CHANGED, payload).body is None
    assert "levels deep" in to_block(CHANGED, payload).note


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_no_numbers(name: str) -> None:
    """What some services send for a number that is none is no reason not to show the rest."""
    block = to_block(NEXT_CHANGED, b'{"execution": {"jobId": "J", "odd": %s}}' % name.encode())
    assert block.body is not None
    assert str(block.body["execution"]["odd"]) == str(float(name))


@pytest.mark.parametrize(
    ("payload", "token"),
    [
        (b'{"clientToken": "c"}', "c"),
        (b'{"clientToken": 5}', None),
        (b'{"x": {"clientToken": "c"}}', None),
        (b'["clientToken"]', None),
        (b'{"clientToken": "c"', None),
        (b"\xff", None),
    ],
)
def test_client_token(payload: bytes, token: str | None) -> None:
    """The token of an answer is the text in its own field."""
    assert client_token(payload) == token


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(
    ["jobs", "execution", "executionState", "queuedJobs", "inProgressJobs", "jobDocument", "status"]
)


@given(
    st.sampled_from(TITLES),
    st.dictionaries(names, json_values | st.dictionaries(names, json_values), max_size=4),
)
def test_nothing_raises(title: str, payload: dict[str, Any]) -> None:
    """Whatever the model makes of a payload, every field that was sent is shown."""
    body = to_block(title, json.dumps(payload).encode()).body
    assert body is not None
    assert json.dumps(
        {key: body[key] for key in payload if key != "execution"}, sort_keys=True
    ) == json.dumps(
        {key: value for key, value in payload.items() if key != "execution"}, sort_keys=True
    )


@given(st.sampled_from(TITLES), st.binary(max_size=50))
def test_any_bytes(title: str, payload: bytes) -> None:
    """Whatever bytes come, they become a block."""
    assert to_block(title, payload).payload == payload
