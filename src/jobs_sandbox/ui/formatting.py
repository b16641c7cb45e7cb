"""Blocks and errors as text or as lines of JSON."""

import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.redaction import without_users
from jobs_sandbox.core.text import escape, escape_lines

WIDTH = 72
"""Columns of a header, at most."""


def block_text(block: Block, width: int = WIDTH, line: str = "─") -> str:
    """A block as the Swift sample prints it, with an empty line after it.

    Args:
        block: what to show.
        width: columns of the window.
        line: the character to draw the header with.

    """
    header = f"{line * 3} {escape(block.title)} ".ljust(min(width, WIDTH), line)
    lines = [header]
    if block.note:
        lines.append(f"({escape(block.note)})")
    if block.body is None:
        lines.append(escape(_decode(block.payload)))
    else:
        lines.append(_LAYOUTS.get(block.title, _json)(block.body))
    return "\n".join([*lines, "", ""])


def block_json(block: Block) -> str:
    """A block as a line of JSON: ``type``, ``body`` or ``raw`` text, and ``note`` if any."""
    fields: dict[str, object] = {"type": block.title}
    if block.body is None:
        fields["raw"] = _decode(block.payload)
    else:
        fields["body"] = block.body
    if block.note:
        fields["note"] = block.note
    return json_line(fields)


def error_text(error: SandboxError, place: Mapping[str, object] = {}) -> str:
    """An error in a line or three: what happened, the likely cause, the next step."""
    where = f"line {place['line']}: " if place else ""
    kind = "warning: " if error.is_warning else ""
    lines = [where + kind + error.message]
    if error.cause:
        lines.append(f"  likely cause: {error.cause}")
    if error.next_step:
        lines.append(f"  next: {error.next_step}")
    return escape_lines(without_users("\n".join(lines))) + "\n"


def error_json(error: SandboxError, place: Mapping[str, object] = {}) -> str:
    """An error as a line of JSON: ``message``, ``cause``, ``next``, and the place."""
    fields = {"message": error.message, "cause": error.cause, "next": error.next_step} | dict(place)
    shown = {
        name: without_users(value) if isinstance(value, str) else value
        for name, value in fields.items()
        if value
    }
    return json_line({"type": "Warning" if error.is_warning else "Error"} | shown)


def json_line(value: object) -> str:
    """A line of JSON in ASCII, DEL escaped as well."""
    return escape(json.dumps(value)) + "\n"


def _json(body: dict[str, Any]) -> str:
    """JSON as the Swift sample prints it: keys in order, two spaces, ``"key" : value``.

    Unsafe characters occur only inside strings, where their escapes mean the same.
    """
    text = json.dumps(body, indent=2, sort_keys=True, separators=(",", " : "), ensure_ascii=False)
    return escape_lines(text)


def _fields(*names: str) -> Callable[[dict[str, Any]], str]:
    """The layout of the control plane's answers in the Swift sample: one ``name: value`` a line."""

    def layout(body: dict[str, Any]) -> str:
        lines = []
        for name in names:
            value = body.get(name)
            lines.append(f"{name}: {'<nil>' if value is None else escape(str(value))}")
        return "\n".join(lines)

    return layout


def _connection(body: dict[str, Any]) -> str:
    """What a second client needs, to read and to paste."""
    lines = [
        f"{name}: {value}" for name, value in body.items() if name not in ("environment", "command")
    ]
    lines.append("To start a second client, paste into another terminal:")
    if environment := body.get("environment"):
        exports = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
        lines.append(f"export {' '.join(exports)}")
    return escape_lines("\n".join([*lines, body["command"]]))


def _diagnosis(body: dict[str, Any]) -> str:
    """The reasons, most likely first, each with its fact and next step."""
    lines = [f"{body['jobId']} on {body['thingName']}"]
    for number, finding in enumerate(body["findings"], 1):
        lines.append(f"{number}. {finding['meaning']}")
        lines += [f"   fact: {escape(finding['fact'])}", f"   next: {finding['next']}"]
    return "\n".join([*lines, *(f"not known: {escape(failure)}" for failure in body["unknown"])])


def _help(body: dict[str, Any]) -> str:
    return "\n".join(body["lines"])


_LAYOUTS: dict[str, Callable[[dict[str, Any]], str]] = {
    blocks.CREATE_JOB: _fields("description", "jobArn", "jobId"),
    blocks.CANCEL_JOB: _fields("description", "jobArn", "jobId"),
    blocks.DELETE_JOB: _fields("jobId"),
    blocks.CONNECTION: _connection,
    blocks.DIAGNOSIS: _diagnosis,
    blocks.HELP: _help,
}


def _decode(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")
