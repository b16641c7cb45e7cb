"""Answers, events and errors → text or JSON lines. Pure: knows no SDK, no terminal, no clock."""

import codecs
import json
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.redaction import without_users
from jobs_sandbox.core.text import escape, escape_lines

WIDTH = 72


def _escape_unencodable(error: UnicodeError) -> tuple[str, int]:
    """JSON's escapes for what an encoding does not have: ``\\ud83c\\udf89`` where Python's own would be no JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


ESCAPE_UNENCODABLE = "jobs_sandbox.escape_unencodable"
"""The ``errors`` of a text stream that takes whatever is written here, and whose JSON stays JSON in every encoding."""
codecs.register_error(ESCAPE_UNENCODABLE, _escape_unencodable)


def header(title: str, width: int = WIDTH) -> str:
    """The line above a block: ``─── Title ───…``, as wide as the window, and 72 columns at most."""
    return f"─── {escape(title)} ".ljust(min(width, WIDTH), "─")


def block_text(answer: Block, width: int = WIDTH) -> str:
    """A block as the Swift sample prints it, for a window of that width, with an empty line after it."""
    body, note = answer.body, answer.note
    shown = (
        escape(_decode(answer.payload))
        if body is None
        else _LAYOUTS.get(answer.title, _pretty)(body)
    )
    return "\n".join(
        [header(answer.title, width), *([f"({escape(note)})"] if note else []), shown, "", ""]
    )


def block_json(answer: Block) -> str:
    """A block as one line of JSON: ``{"type": …, "body": …}``; ``raw`` for a body not understood; ``note`` if any."""
    body, note = answer.body, answer.note
    shown = {"raw": _decode(answer.payload)} if body is None else {"body": body}
    return json_line({"type": answer.title} | shown | ({"note": note} if note else {}))


def error_text(error: SandboxError, place: Mapping[str, object] = {}) -> str:
    """An error in a line or three: what happened, the likely cause, what to do next."""
    where = f"line {place['line']}: " if place else ""
    lines = [where + error.message]
    if error.cause:
        lines.append(f"  likely cause: {error.cause}")
    if error.next_step:
        lines.append(f"  next: {error.next_step}")
    return escape_lines(without_users("\n".join(lines))) + "\n"


def error_json(error: SandboxError, place: Mapping[str, object] = {}) -> str:
    """An error as one line of JSON: ``{"type": "Error", "message": …, "cause": …, "next": …}``."""
    fields = {
        "type": "Error",
        "message": error.message,
        "cause": error.cause,
        "next": error.next_step,
    } | dict(place)
    shown = {
        key: without_users(value) if isinstance(value, str) else value
        for key, value in fields.items()
    }
    return json_line({key: value for key, value in shown.items() if value})


def json_line(value: object) -> str:
    """One line of JSON, safe to show: text beyond ASCII as itself, what could drive a terminal escaped."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (
        ValueError
    ):  # NaN and Infinity: the SDK lets them through; JSON, which knows neither, gets their names
        text = json.dumps(json.loads(json.dumps(value), parse_constant=str), ensure_ascii=False)
    return escape(text) + "\n"


def _pretty(body: dict[str, Any]) -> str:
    """JSON as the Swift sample prints it: keys in order, two spaces, ``"key" : value``.

    What is unsafe occurs inside strings alone, where ``\\uXXXX`` means the same: it stays JSON.
    """
    return escape_lines(
        json.dumps(body, indent=2, sort_keys=True, separators=(",", " : "), ensure_ascii=False)
    )


def _fields(*names: str) -> Callable[[dict[str, Any]], str]:
    """The control plane's answers, printed as the Swift sample does: one ``name: value`` a line."""

    def layout(body: dict[str, Any]) -> str:
        values = ((name, body.get(name)) for name in names)
        return "\n".join(
            f"{name}: {'<nil>' if value is None else escape(str(value))}" for name, value in values
        )

    return layout


def _connection(body: dict[str, Any]) -> str:
    """What a second client needs, to read and to paste."""
    exports = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in body.get("environment", {}).items()
    )
    rows = [
        f"{name}: {value}" for name, value in body.items() if name not in ("environment", "command")
    ]
    return escape_lines(
        "\n".join([*rows, *([f"export {exports}"] if exports else []), body["command"]])
    )


_LAYOUTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "CreateJobOutput": _fields("description", "jobArn", "jobId"),
    "CancelJobOutput": _fields("description", "jobArn", "jobId"),
    "DeleteJobOutput": _fields("jobId"),
    "Connection": _connection,
    "Help": lambda body: "\n".join(body["lines"]),
}


def _decode(payload: bytes) -> str:
    return payload.decode("utf-8", "backslashreplace")
