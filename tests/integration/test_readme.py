"""The README is true: its commands run, its blocks are what is printed, its lists are complete."""

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox.commands.completion import help_lines
from tests.support.aws.account import ROOT as ROOT_KEYS
from tests.support.aws.account import Account
from tests.support.blocks import parse_blocks
from tests.support.drivers.program import Program, environment, run
from tests.support.drivers.terminal import PROMPT, Terminal
from tests.support.readme import ROOT, fences, mask, shell, steps

REJECTED = "Service Request Rejected"
EVENTS = ("JobExecutionsChangedEvent", "NextJobExecutionChangedEvent")
SESSION = [*steps("Walkthrough"), *steps("Questions")]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone in which the README's first command was run."""
    folder = tmp_path / "clone"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    (folder / "policies").symlink_to(ROOT / "policies")
    return folder


def bash(
    script: str, folder: Path, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def follow(
    send: Callable[[str], None], blocks: Callable[[], list[tuple[str, str]]], wait_for: Any
) -> None:
    """Type every line of the README's session: each step prints its blocks and no other."""
    seen = 0

    def take() -> list[tuple[str, str]]:
        nonlocal seen
        fresh = blocks()[seen:]
        seen += len(fresh)
        return [(title, mask(body)) for title, body in fresh]

    def settle() -> list[tuple[str, str]]:
        """What else has come, up to a block that comes last."""
        send("wait 0.3")
        send("help")
        wait_for(lambda: any(title == "Help" for title, _ in blocks()[seen:]))
        return [block for block in take() if block[0] != "Help"]

    for step in SESSION:
        for line in step.lines:
            send(line)
        if step.blocks is None:
            assert REJECTED not in [title for title, _ in settle()]
        else:
            wanted = seen + len(step.blocks)
            wait_for(lambda wanted=wanted: len(blocks()) >= wanted)
            assert take() == step.blocks, step.lines
    assert settle() == []


def test_on_a_pipe() -> None:
    """Each step of walkthrough and questions prints exactly the README's blocks, on a pipe."""
    with Program(["--local"]) as program:
        program.started()
        follow(program.send, program.blocks, program.wait_for)
        assert program.finish() == 0, program.stderr


def test_at_a_terminal(tmp_path: Path) -> None:
    """Each step of walkthrough and questions prints exactly the README's blocks, at a terminal."""
    with Terminal(["--local"], {"XDG_STATE_HOME": str(tmp_path)}) as terminal:

        def send(line: str) -> None:
            terminal.wait_prompt()
            terminal.send(f"{line}\r")
            terminal.wait_for(lambda: not terminal.prompt_line().endswith(line))

        def blocks() -> list[tuple[str, str]]:
            # All blocks are drawn to their ends when a prompt is there.
            return parse_blocks(terminal.text()) if terminal.prompt_line() == PROMPT else []

        terminal.wait_prompt()
        follow(send, blocks, terminal.wait_for)
        terminal.wait_prompt()
        terminal.send("quit\r")
        assert terminal.finish() == 0
        assert "likely cause" not in terminal.text()


def test_the_walkthrough_is_the_samples() -> None:
    """The walkthrough has every step of the Swift sample's, under its headings, with its blocks."""
    assert [(step.headings[-1], step.lines) for step in steps("Walkthrough")] == [
        ("Job Creation", ["get-pending-job-executions"]),
        ("Job Creation", ['create-job Job1 {"Todo":"Reboot"}']),
        ("Job Creation", ['create-job Job2 {"Todo":"Delete Root User"}']),
        ("Job Execution", ["start-next-pending-job-execution"]),
        ("Job Execution", ["get-pending-job-executions"]),
        ("Job Execution", ["update-job-execution Job1 SUCCEEDED"]),
        ("Job Execution", ["start-next-pending-job-execution"]),
        ("Job Execution", ["update-job-execution Job2 FAILED"]),
        ("Job Cleanup", ["delete-job Job1"]),
    ]
    assert all(step.blocks for step in steps("Walkthrough"))


def test_help_of_the_prompt() -> None:
    """``help`` prints the commands and the keys, and ``help <command>`` all about one."""
    printed = run(["--local"], "help\nhelp expect\n").stdout
    shown = ["\n".join(lines) for lines in (help_lines(), help_lines("expect"))]
    assert parse_blocks(printed) == [("Help", text) for text in shown]


def test_help_of_the_command_line() -> None:
    """docs/options.md shows what ``--help`` prints, layout aside, which is Python's."""

    def words(text: str) -> list[str]:
        # Python 3.13 and later name the metavariable once
        return text.replace("--client-id ID, --client_id ID", "--client-id, --client_id ID").split()

    (shown,) = [fence.text for fence in fences("What `--help` prints")]
    printed = run(["--help"], env={"COLUMNS": "100"})
    assert printed.returncode == 0
    assert words(printed.stdout) == words(shown)


def test_script(clone: Path) -> None:
    """The example of a script runs, and prints its answers in order."""
    script, _ = shell("Options, output and scripts")
    done = bash(script, clone)
    assert done.returncode == 0, done.stderr
    titles = [title for title, _ in parse_blocks(done.stdout)]
    assert sorted(titles[:3]) == [
        "CreateJobOutput",
        "JobExecutionsChangedEvent",
        "NextJobExecutionChangedEvent",
    ]
    assert [title for title in titles[3:] if not title.endswith("Event")] == [
        "StartNextJobExecutionResponse",
        "UpdateJobExecutionResult",
    ]


def test_json_example(clone: Path) -> None:
    """The example of ``--output json`` prints what the README shows."""
    _, command = shell("Options, output and scripts")
    (shown,) = [
        fence.text for fence in fences("Options, output and scripts") if fence.language == "json"
    ]
    done = bash(command, clone)
    assert done.returncode == 0
    assert mask(done.stdout.rstrip("\n")) == mask(shown)


def test_shell_syntax() -> None:
    """Every shell command of the README is well formed."""
    every = [fence.text for fence in fences() if fence.language == "sh"]
    assert len(every) > 5
    for script in every:
        done = subprocess.run(
            ["/bin/bash", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}\n{done.stderr}"


def test_in_an_account(account: Account, clone: Path, tmp_path: Path) -> None:
    """The commands for an AWS account create what the program needs, and remove it again."""
    create, start, remove = shell("Setting up an AWS account")
    command = tmp_path / "bin" / "aws"
    command.parent.mkdir()
    python = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.quote(sys.executable)}"
    command.write_text(f'#!/bin/sh\n{python} -m tests.support.aws.aws_command "$@"\n')
    command.chmod(0o700)
    env = {
        "HOME": str(tmp_path),
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": account.local.endpoint_url,
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }
    root = env | dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ROOT_KEYS, strict=True))
    before = _inventory(account)
    thing = f"Readme-{os.getpid()}"
    create = create.replace("THING=SandboxThing", f"THING={thing}")

    created = bash(f"{create}\ndeclare -p THING DEVICE CERTIFICATE KEYS ENDPOINT", clone, root)
    assert created.returncode == 0, created.stderr
    variables = "".join(
        line + "\n" for line in created.stdout.splitlines() if line.startswith("declare -- ")
    )
    device = tmp_path / "jobs-sandbox-device"
    assert (device / "private.key").stat().st_mode & 0o777 == 0o600
    for name in ("device-policy", "control-plane-policy"):
        filled = (device / f"{name}.json").read_text()
        assert json.loads(filled) == json.loads(account.policy(name, thing))
        assert "<" not in filled

    # Only the endpoint is not the one of `describe-endpoint`: MiniStack has a port of its own.
    where = f"ENDPOINT={account.local.endpoint}; export AWS_DEFAULT_REGION=us-east-1"
    options = f"--port {account.local.port} --ca-file {shlex.quote(account.local.ca_file)}"
    job = f"Readme-{os.getpid()}"
    script = [
        f"create-job {job} {{}}",
        "wait NextJobExecutionChangedEvent",
        f"update-job-execution {job} succeeded",
        f"delete-job {job}",
    ]
    piped = f"printf '%s\\n' {shlex.join(script)} |"
    started = bash(f"{variables}{where}\n{piped} {start} {options}", clone, env)
    assert started.returncode == 0, started.stderr
    assert f"created the thing {thing}" in started.stderr

    removed = bash(f"{variables}export AWS_DEFAULT_REGION=us-east-1\n{remove}", clone, root)
    assert removed.returncode == 0, removed.stderr
    assert _inventory(account) == before
    assert not device.exists()


def _inventory(account: Account) -> list[set[str]]:
    """What an account may be left with."""
    return [
        {
            certificate["certificateId"]
            for certificate in account.iot.list_certificates()["certificates"]
        },
        {policy["policyName"] for policy in account.iot.list_policies()["policies"]},
        {thing["thingName"] for thing in account.iot.list_things()["things"]},
        {user["UserName"] for user in account.iam.list_users()["Users"]},
    ]
