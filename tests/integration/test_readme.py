"""The README is true: its commands run, its blocks are what is printed, its lists are complete."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs_sandbox import cli
from jobs_sandbox.commands.command import COMMANDS
from jobs_sandbox.commands.completion import help_lines
from jobs_sandbox.ui.formatting import header
from tests.support import readme
from tests.support.account import ROOT as ROOT_KEYS
from tests.support.account import Account
from tests.support.program import Program, environment, parse_blocks, run
from tests.support.readme import fences, mask, section, shell, steps, table
from tests.support.terminal import PROMPT, Terminal

REJECTED = "Service Request Rejected"
EVENTS = ("JobExecutionsChangedEvent", "NextJobExecutionChangedEvent")
SESSION = [*steps("Walkthrough"), *steps("Questions")]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder that looks like a clone in which the README's first command was run."""
    folder = tmp_path / "clone"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    (folder / "policies").symlink_to(readme.ROOT / "policies")
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
    """Type every line of the README's session, and see that each step prints its blocks and no other."""
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
            # One that is half drawn has an empty line under it too: only a prompt tells that all are whole.
            return parse_blocks(terminal.text()) if terminal.prompt_line() == PROMPT else []

        terminal.wait_prompt()
        follow(send, blocks, terminal.wait_for)
        terminal.wait_prompt()
        terminal.send("quit\r")
        assert terminal.finish() == 0
        assert "likely cause" not in terminal.text()


def test_the_walkthrough_is_the_samples() -> None:
    """The walkthrough has every step of the Swift sample's, under its headings, and shows what each prints."""
    assert [(step.headings[-1], step.lines) for step in steps("Walkthrough")] == [
        ("Job Creation", ["get-pending-job-executions"]),
        ("Job Creation", ['create-job Job1 {"Todo":"Reboot"}']),
        ("Job Creation", ['create-job Job2 {"ToDo":"Delete Root User"}']),
        ("Job Execution", ["start-next-pending-job-execution"]),
        ("Job Execution", ["get-pending-job-executions"]),
        ("Job Execution", ["update-job-execution Job1 SUCCEEDED"]),
        ("Job Execution", ["start-next-pending-job-execution"]),
        ("Job Execution", ["update-job-execution Job2 FAILED"]),
        ("Job Cleanup", ["delete-job Job1"]),
    ]
    assert all(step.blocks for step in steps("Walkthrough"))


def test_the_two_commands() -> None:
    """A stranger needs the README's first two commands, and these are they."""
    assert shell("Start") == [
        "python3 -m venv .venv && .venv/bin/pip install --editable '.[local]' && .venv/bin/jobs-sandbox --local",
        ".venv/bin/pip install --editable '.[dev]' && .venv/bin/python -m pytest",
    ]


def test_help_of_the_prompt() -> None:
    """``help`` prints the commands and the keys, and ``help <command>`` all about one."""
    printed = run(["--local"], "help\nhelp expect\n").stdout
    shown = ["\n".join(lines) for lines in (help_lines(), help_lines("expect"))]
    assert printed == "".join(f"{header('Help')}\n{text}\n\n" for text in shown)


def test_its_length() -> None:
    """The README is read, not searched: what is looked up stands on the pages of docs/."""
    assert len(readme.README.read_text().splitlines()) < 600


def test_help_of_the_command_line() -> None:
    """docs/options.md shows what ``--help`` prints, layout aside, which is Python's."""

    def words(text: str) -> list[str]:
        # Python 3.13 and later name the metavariable once
        return text.replace("--client-id ID, --client_id ID", "--client-id, --client_id ID").split()

    (shown,) = [fence.text for fence in fences("What `--help` prints")]
    printed = run(["--help"], env={"COLUMNS": "100"})
    assert printed.returncode == 0
    assert words(printed.stdout) == words(shown)


def test_every_option_and_default() -> None:
    """``--help`` names every option of the parser, with the default where there is one."""
    (shown,) = [fence.text for fence in fences("What `--help` prints")]
    text = " ".join(shown.split())
    for action in cli._parser()._actions:
        for option in action.option_strings:
            assert option in text
        if (
            action.option_strings
            and isinstance(action.default, str | int)
            and "help" not in action.dest
        ):
            assert str(action.default) == "==SUPPRESS==" or f"(default: {action.default})" in text


def test_every_command() -> None:
    """The README's tables of commands and of permissions have a row for each command of the table, in its order."""
    assert [row[0] for row in table("Commands", "command")] == [f"`{name}`" for name in COMMANDS]
    rows = " ".join(row[0] for row in table("Least privilege", "to"))
    needing = [name for name, command in COMMANDS.items() if command.plane != "Miscellaneous"]
    assert rows.split() == ["start", *(f"`{name}`" for name in needing)]


def test_every_exit_status() -> None:
    """docs/options.md has a table of the exit statuses that ``--help`` tells, and they are the real ones."""
    rows = [row[0] for row in table("Exit status", "exit status")]
    told = run(["--help"]).stdout.split("exit status:")[1].split("(")[0]
    assert rows == [*re.findall(r"\d+", told), "143, 129"]
    assert run(["--version"]).returncode == 0
    assert run(["localhost", "missing.pem", "missing.key", "us-east-1", "thing"]).returncode == 1
    assert run(["localhost"]).returncode == 2


def test_every_permission() -> None:
    """The README's table of permissions grants what the two shipped policies grant, no more and no less."""
    needed_by = {"iot:CancelJob": "cancel-job", "iot:DescribeJobExecution": "expect"}
    shipped = set()
    for path in sorted((readme.ROOT / "policies").iterdir()):
        for statement in json.loads(path.read_text())["Statement"]:
            for action in _list(statement["Action"]):
                if needed_by.get(action, "help") not in COMMANDS:
                    continue
                for resource in _list(statement["Resource"]):
                    shipped.add((action, _short_resource(resource)))
    told = set()
    for row in table("Least privilege", "to"):
        for cell in row[1:]:
            for grant in cell.split(";"):
                words = re.findall("`([^`]+)`", grant)
                actions = [word for word in words if word.startswith("iot:")]
                told |= {
                    (action, word) for word in words if word not in actions for action in actions
                }
    assert told == shipped


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _short_resource(arn: str) -> str:
    resource = arn.split(":", 5)[5].replace("<thingname>", "<thing>")
    return re.sub(r"^topic(filter)?/\$aws/things/<thing>/jobs/", "", resource)


def test_every_file_it_names() -> None:
    """Every file, folder and heading that the README and the pages link to is there."""
    linked = [
        (page, target)
        for page in readme.PAGES
        for target in re.findall(r"\[[^]]*\]\(([^)]+)\)", page.read_text())
        if "://" not in target
    ]
    assert len(linked) > 20
    for page, target in linked:
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), (page.name, target)
        headings = (
            [line.lstrip("# ").lower().replace(" ", "-") for line in file.read_text().splitlines()]
            if anchor
            else []
        )
        assert not anchor or anchor in headings, (page.name, target)


def test_every_message() -> None:
    """Every message of the troubleshooting table is one of the program's."""
    source = "\n".join(
        node.value
        for path in sorted((readme.ROOT / "src").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    for row in table("Messages", "message"):
        for message in re.findall("`([^`]+)`", row[0]):
            for part in filter(None, (part.strip() for part in message.split("…"))):
                assert part in source, message


def test_script(clone: Path) -> None:
    """The example of a script runs, and prints its answers in order."""
    script, _ = shell("Output and scripts")
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
    _, command = shell("Output and scripts")
    (shown,) = [fence.text for fence in fences("Output and scripts") if fence.language == "json"]
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
    """The commands for an AWS account create all that the program needs, and the last of them remove it again."""
    create, start, remove = shell("Setting up an AWS account")
    command = tmp_path / "bin" / "aws"
    command.parent.mkdir()
    python = f"PYTHONPATH={shlex.quote(str(readme.ROOT))} exec {shlex.quote(sys.executable)}"
    command.write_text(f'#!/bin/sh\n{python} -m tests.support.aws_command "$@"\n')
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

    # The endpoint alone is not the one that `describe-endpoint` gives: MiniStack has another port for it.
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


def test_sections() -> None:
    """The README has its sections, and none is empty."""
    for heading in (
        "Start",
        "Walkthrough",
        "Questions",
        "Commands",
        "When things fail",
        "Messages",
        "Licence",
    ):
        assert section(heading).strip()


def test_a_stuck_job() -> None:
    """The commands that find out why a job is stuck are those of the page, and show what it says."""
    text = " ".join(section("Why is my job stuck?").split())
    with Program(["--local"]) as program:
        program.started()

        def type_(command: str) -> None:
            assert f"`{command}`" in text
            program.send(command.replace("<jobId>", "A"))

        program.send("create-job A {}", "wait NextJobExecutionChangedEvent", "create-job B {}")
        program.take("CreateJobOutput", *EVENTS)
        program.take("CreateJobOutput", EVENTS[0])
        type_("get-pending-job-executions")
        pending = program.take("GetPendingJobExecutionsResponse")["GetPendingJobExecutionsResponse"]
        assert [job["jobId"] for job in pending["queuedJobs"]] == ["A", "B"]
        type_("describe-job-execution $next")
        described = program.take("DescribeJobExecutionResponse")["DescribeJobExecutionResponse"]
        assert described["execution"]["jobId"] == "A"
        program.send("update-job-execution A IN_PROGRESS")
        program.take("UpdateJobExecutionResult")
        type_("expect <jobId> SUCCEEDED 1")
        program.wait_stderr("the execution of A is not SUCCEEDED after 1 s: it is IN_PROGRESS")
        program.send("cancel-job A")
        program.take("CancelJobOutput")
        type_("expect <jobId> CANCELED 1")
        program.wait_stderr("the execution of A is not CANCELED after 1 s: it is IN_PROGRESS")
        type_("cancel-job <jobId> force")
        program.wait_stderr("Job A is in status CANCELED and cannot be canceled")
        type_("delete-job <jobId>")
        program.take("DeleteJobOutput", *EVENTS)
        assert program.finish() == 1
