"""Messages become blocks: the service's own JSON, and nothing that was sent is lost."""

import json
from typing import Any

import pytest
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
from jobs_sandbox.data_plane.payloads import to_block

TITLES = [CHANGED, NEXT_CHANGED, GET_PENDING, START_NEXT, DESCRIBE, UPDATE, REJECTED]
SUMMARY = {
    "executionNumber": 1,
    "jobId": "Job1",
    "lastUpdatedAt": 1748981622,
    "queuedAt": 1748981622.987,
    "versionNumber": 1,
}
EXECUTION = SUMMARY | {
    "jobDocument": {"snake_case": None, "camelCase": [{"x_y": 1.5, "a": 1}]},
    "status": "QUEUED",
}
ABSENT = {"startedAt": None, "statusDetails": None, "thingName": None}


def shown(title: str, payload: Any) -> Any:
    """The body of a block whose payload fits the model."""
    block = to_block(title, json.dumps(payload).encode())
    assert block.note == ""
    return block.body


@pytest.mark.parametrize(
    ("title", "payload"),
    [
        (CHANGED, {"jobs": {"QUEUED": [SUMMARY], "NEW": [SUMMARY | {"odd": [2]}]}, "timestamp": 1}),
        (NEXT_CHANGED, {"timestamp": None}),
        (GET_PENDING, {"clientToken": "c", "inProgressJobs": [], "queuedJobs": ["odd"]}),
        (DESCRIBE, {"clientToken": "c", "execution": None}),
        (UPDATE, {"clientToken": [1], "executionState": {"status": 5}, "timestamp": 1}),
        (REJECTED, {"code": "C", "message": "no", "executionState": {"versionNumber": 2}}),
    ],
)
def test_as_it_was_sent(title: str, payload: dict[str, Any]) -> None:
    """Every field that was sent is shown, known or not, and no other."""
    assert shown(title, payload) == payload


@pytest.mark.parametrize("title", [NEXT_CHANGED, START_NEXT, DESCRIBE])
def test_execution(title: str) -> None:
    """An execution shows its absent fields as null, except the job document, as the spec does."""
    assert shown(title, {"execution": EXECUTION}) == {"execution": EXECUTION | ABSENT}
    assert shown(title, {"execution": {}})["execution"] == dict.fromkeys(
        EXECUTION.keys() - {"jobDocument"} | ABSENT.keys(),
    )


def test_update() -> None:
    """The response to an update shows its absent fields as null, except the job document."""
    assert shown(UPDATE, {"clientToken": "c"}) == {
        "clientToken": "c",
        "executionState": None,
        "timestamp": None,
    }
    assert shown(UPDATE, {"jobDocument": {"Todo": None}})["jobDocument"] == {"Todo": None}


@pytest.mark.parametrize("payload", [b"", b"[1]", b"\xff{", b'{"a": NaN}', b'{"a":' + b"[" * 5000])
def test_not_an_object(payload: bytes) -> None:
    """A payload that is not a JSON object has no body; its bytes and the reason are kept."""
    block = to_block(CHANGED, payload)
    assert block == Block(CHANGED, None, payload, block.note)
    assert block.note


@given(st.sampled_from(TITLES), st.binary(max_size=50))
def test_any_bytes(title: str, payload: bytes) -> None:
    """Whatever bytes arrive, they become a block."""
    assert to_block(title, payload).payload == payload
