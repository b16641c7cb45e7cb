"""Blocks and errors as text and as lines of JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.ui.formatting import block_json, block_text, error_json, error_text

UNSAFE = set("\x00\t\n\r\x1b\x7f\x80\x9b\u200e\u2028\u202e\u2069\udc00\udfff")
anything = st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from(sorted(UNSAFE)))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | anything,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(anything, inner, max_size=3),
    max_leaves=8,
)


def harmless(line: str) -> bool:
    """Whether a line drives no terminal and can be encoded."""
    return not set(line) & UNSAFE and line.encode() is not None


def body_text(block: Block) -> list[str]:
    """The lines of a block below its header."""
    return block_text(block).split("\n")[1:]


def test_block_of_the_sample() -> None:
    """A block is laid out as in the Swift sample."""
    body = {"b": {"Todo": "日本", "at": None}, "a": [1], "empty": [], "none": {}}
    assert block_text(Block("NextJobExecutionChangedEvent", body)) == (
        "─── NextJobExecutionChangedEvent ───────────────────────────────────────\n"
        "{\n"
        '  "a" : [\n'
        "    1\n"
        "  ],\n"
        '  "b" : {\n'
        '    "Todo" : "日本",\n'
        '    "at" : null\n'
        "  },\n"
        '  "empty" : [],\n'
        '  "none" : {}\n'
        "}\n"
        "\n"
    )


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("CreateJobOutput", ["description: <nil>", "jobArn: arn\\u001b", "jobId: Job1"]),
        ("CancelJobOutput", ["description: <nil>", "jobArn: arn\\u001b", "jobId: Job1"]),
        ("DeleteJobOutput", ["jobId: Job1"]),
    ],
)
def test_answers_of_the_control_plane(title: str, lines: list[str]) -> None:
    """An answer of the control plane has a field a line, and an absent one is ``<nil>``."""
    body = {"jobId": "Job1", "jobArn": "arn\x1b", "description": None}
    assert body_text(Block(title, body)) == [*lines, "", ""]


def test_connection() -> None:
    """The connection is shown in lines to read, and to paste into a shell."""
    body = {
        "thing": "T\x1b",
        "environment": {"AWS_REGION": "us-east-1", "HOME_OF": "a b'c"},
        "command": "jobs-sandbox …",
    }
    assert body_text(Block("Connection", body)) == [
        "thing: T\\u001b",
        "To start a second client, paste into another terminal:",
        "export AWS_REGION=us-east-1 HOME_OF='a b'\"'\"'c'",
        "jobs-sandbox …",
        "",
        "",
    ]
    assert "export" not in block_text(Block("Connection", {"command": "c"}))


def test_note() -> None:
    """A note stands in parentheses below the header, and is a field in JSON."""
    block = Block("T", {"a": 1}, note="late\x1b")
    assert body_text(block)[0] == "(late\\u001b)"
    assert json.loads(block_json(block)) == {"type": "T", "body": {"a": 1}, "note": "late\x1b"}


def test_unreadable_payload() -> None:
    """A payload that cannot be parsed is shown escaped on one line."""
    block = Block("T", None, b"a\x1b\r\n\xff\xe2\x80\xaec")
    assert body_text(block) == ["a\\u001b\\u000d\\u000a\\xff\\u202ec", "", ""]
    assert json.loads(block_json(block)) == {"type": "T", "raw": "a\x1b\r\n\\xff\u202ec"}


@given(json_values, anything)
def test_any_block_is_safe(value: object, text: str) -> None:
    """Whatever came from the network, it cannot drive the terminal, and its JSON is the same."""
    block = Block(f"T{text}", {text: value}, note=text)
    lines = block_text(block).split("\n")
    assert all(harmless(line) for line in lines)
    body = "\n".join(lines[2 if text else 1 :])
    assert json.loads(body) == json.loads(json.dumps({text: value}))
    line = block_json(block)
    assert harmless(line[:-1])
    assert json.loads(line)["type"] == f"T{text}"


def test_error() -> None:
    """An error has a line for what happened, the cause, and the next step, as far as known."""
    error = SandboxError("it failed\x1b", cause="the network", next_step="try again.")
    assert (
        error_text(error) == "it failed\\u001b\n  likely cause: the network\n  next: try again.\n"
    )
    fields = {"message": "it failed\x1b", "cause": "the network", "next": "try again."}
    assert json.loads(error_json(error)) == {"type": "Error"} | fields
    place = {"line": 7, "command": "frob"}
    assert error_text(SandboxError("it failed"), place) == "line 7: it failed\n"
    expected = {"type": "Error", "message": "it failed"} | place
    assert json.loads(error_json(SandboxError("it failed"), place)) == expected


def test_warning() -> None:
    """The failure of a line that began with ``should`` is called a warning."""
    warning = SandboxError("it failed").replace(is_warning=True)
    assert error_text(warning, {"line": 7}) == "line 7: warning: it failed\n"
    assert json.loads(error_json(warning)) == {"type": "Warning", "message": "it failed"}


def test_error_hides_users() -> None:
    """An error shows no user part of a URL, whatever it quotes."""
    url = "mqtts://user:pw@host:8883"
    error = SandboxError(f"{url} failed", cause=f"{url},", next_step=f"not {url}.")
    place = {"line": 7, "command": f"frob {url}"}
    for shown in (error_text(error, place), error_json(error, place)):
        assert "pw" not in shown
        assert "host:8883 failed" in shown


def test_diagnosis() -> None:
    """A diagnosis is shown in sentences, and text from the network is escaped."""
    finding = {"reason": "x", "meaning": "It is so.", "fact": "comment \n\x1b", "next": "do that."}
    body = {"jobId": "J", "thingName": "T", "findings": [finding], "unknown": ["failed\n"]}
    assert body_text(Block("Diagnosis", body)) == [
        "J on T",
        "1. It is so.",
        "   fact: comment \\u000a\\u001b",
        "   next: do that.",
        "not known: failed\\u000a",
        "",
        "",
    ]
