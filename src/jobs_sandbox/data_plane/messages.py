"""The device SDK's modeled shapes → the service's JSON, with what the model drops put back. Imports no SDK."""

import json
from datetime import datetime
from typing import Any

from jobs_sandbox.blocks import Block

# The shapes that carry a job document show their absent fields as null, as the Swift sample does.
_NULLS_SHOWN = ("JobExecutionData", "UpdateJobExecutionResponse")


def readable(title: str, shape: Any, payload: bytes) -> Block:
    """A modeled shape and the payload it was made from, as an answer; it never raises."""
    try:
        body = to_json(shape)
        if payload:
            _put_back(body, json.loads(payload))
    except Exception as error:  # whatever the network sent, it is shown
        return unreadable(title, payload, error)
    return Block(title, body, payload)


def unreadable(title: str, payload: bytes, error: Exception | None) -> Block:
    """A payload that the SDK's model does not fit: as JSON if it is a JSON object, else as it came."""
    note = f"not what AWS IoT Jobs documents: {type(error).__name__}: {error}"
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        body = None
    return Block(title, body if isinstance(body, dict) else None, payload, note)


def to_json(shape: Any) -> Any:
    """Field names in camelCase, times as whole epoch seconds, absent fields left out or null as the shape wants."""
    if isinstance(shape, datetime):
        return int(shape.timestamp())
    if isinstance(shape, list):
        return [to_json(item) for item in shape]
    if isinstance(shape, dict):
        return {key: to_json(value) for key, value in shape.items()}
    if not hasattr(shape, "from_payload"):
        return shape
    nulls = type(shape).__name__ in _NULLS_SHOWN
    fields = {}
    for name in shape.__slots__:
        value = getattr(shape, name)
        if name == "job_document":
            if value is not None:
                fields["jobDocument"] = value
        elif value is not None or nulls:
            fields[_camel_case(name)] = to_json(value)
    return fields


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _put_back(known: Any, sent: Any) -> None:
    """Add to ``known`` what ``sent`` has besides: the SDK's model drops the fields that it does not know."""
    if isinstance(sent, dict):
        for key, value in sent.items():
            if key not in known:
                known[key] = value
            elif key != "jobDocument":
                _put_back(known[key], value)
    elif isinstance(sent, list):
        for known_item, sent_item in zip(known, sent, strict=True):
            _put_back(known_item, sent_item)
