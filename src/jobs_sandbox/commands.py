"""The command table: parsing, dispatch, help and completion all come from it. Knows the planes as Protocols only."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, Protocol

from jobs_sandbox import json_text
from jobs_sandbox.blocks import Block, Pending
from jobs_sandbox.documents import field_names
from jobs_sandbox.errors import AlreadyExists, SandboxError, UsageError
from jobs_sandbox.executions import Executions
from jobs_sandbox.formatting import nearest, short
from jobs_sandbox.lines import split
from jobs_sandbox.parameters import (
    DOCUMENT,
    EVENTS,
    JOB,
    JOB_OR_NEXT,
    NEW_JOB,
    SECONDS_OR_EVENT,
    STATUS,
    TIMEOUT,
    Parameter,
)
from jobs_sandbox.threads import in_background


class ControlPlane(Protocol):
    """What a fleet operator does; each call blocks and may raise `RequestFailed`."""

    def create_job(self, job_id: str, document: str) -> Block:
        """CreateJob."""

    def delete_job(self, job_id: str) -> Block:
        """DeleteJob."""


class DataPlane(Protocol):
    """What a device does; no call blocks."""

    def get_pending_job_executions(self) -> Pending:
        """GetPendingJobExecutions."""

    def start_next_pending_job_execution(self) -> Pending:
        """StartNextPendingJobExecution."""

    def describe_job_execution(self, job_id: str) -> Pending:
        """DescribeJobExecution."""

    def update_job_execution(self, job_id: str, status: str) -> Pending:
        """UpdateJobExecution."""


class Sandbox(Protocol):
    """What the commands work on."""

    control: ControlPlane
    data: DataPlane

    def wait(self, seconds: float | None, event: str | None) -> None:
        """Wait for an event, or just so long."""

    def show_help(self) -> None:
        """Show `help_lines`."""


class Quit(Exception):
    """Leave the program."""


class Command(NamedTuple):
    """A row of the table.

    Attributes:
        name: what is typed.
        plane: the heading it stands under in the help.
        summary: one line for help and completion.
        parameters: its arguments.
        handler: sends it; the pending answer, or None if it is done.
        look: for a command that changes something, how to see whether it did; ``{0}`` is its first argument.
        raises_events: whether events follow it.

    """

    name: str
    plane: str
    summary: str
    parameters: tuple[Parameter, ...]
    handler: Callable[..., Pending | None]
    check_with: str = ""
    raises_events: bool = False

    @property
    def usage(self) -> str:
        """The usage line."""
        return " ".join([self.name, *(parameter.name for parameter in self.parameters)])


def _create_job(sandbox: Sandbox, job_id: str, document: str) -> Pending:
    pending = Pending()

    def create() -> Block:
        try:
            return sandbox.control.create_job(job_id, document)
        except AlreadyExists as error:
            if error.retried:
                ours = _is_ours(sandbox.data.describe_job_execution(job_id), document)
                if ours:
                    body = {"description": None, "jobArn": error.job_arn, "jobId": job_id}
                    note = "the first answer was lost and the retry found the job there, with this document"
                    return Block("CreateJobOutput", body, note=note)
                error.uncertain = ours is None
            raise

    in_background(create, pending)
    return pending


def _is_ours(described: Pending, document: str) -> bool | None:
    """Whether the job that exists carries the document that was to be created; None if that cannot be seen."""
    with suppress(SandboxError):
        match described.result().body:
            case {"execution": {"jobDocument": found}}:
                return json_text.same_json(json_text.loads(document), found)
    return None


def _delete_job(sandbox: Sandbox, job_id: str) -> Pending:
    pending = Pending()
    in_background(lambda: sandbox.control.delete_job(job_id), pending)
    return pending


def _wait(sandbox: Sandbox, what: str, limit: str | None = None) -> None:
    if what in EVENTS:
        sandbox.wait(None if limit is None else float(limit), what)
    elif limit is not None:
        raise UsageError("a timeout goes with an event.", next_step=f"usage: {COMMANDS['wait'].usage}")
    else:
        sandbox.wait(float(what), None)


def _quit(_: Sandbox) -> None:
    raise Quit


_CONTROL, _DATA, _MISC = "Control Plane", "Data Plane", "Miscellaneous"
COMMANDS = {
    command.name: command
    for command in (
        Command(
            "create-job",
            _CONTROL,
            "create a job that targets this thing",
            (NEW_JOB, DOCUMENT),
            _create_job,
            "`describe-job-execution {0}` shows whether the job is there (TerminalStateReached: it is, and has ended)",
            raises_events=True,
        ),
        Command(
            "delete-job",
            _CONTROL,
            "delete a job whose executions are all terminal",
            (JOB,),
            _delete_job,
            "`delete-job {0}` again shows: ResourceNotFoundException means that it is gone",
        ),
        Command(
            "get-pending-job-executions",
            _DATA,
            "list this thing's executions that are not terminal",
            (),
            lambda sandbox: sandbox.data.get_pending_job_executions(),
        ),
        Command(
            "start-next-pending-job-execution",
            _DATA,
            "move the next queued execution to IN_PROGRESS",
            (),
            lambda sandbox: sandbox.data.start_next_pending_job_execution(),
            "`get-pending-job-executions` shows whether an execution was started",
        ),
        Command(
            "describe-job-execution",
            _DATA,
            "show this thing's execution of a job, or of $next",
            (JOB_OR_NEXT,),
            lambda sandbox, job_id: sandbox.data.describe_job_execution(job_id),
        ),
        Command(
            "update-job-execution",
            _DATA,
            "set the status of this thing's execution of a job",
            (JOB, STATUS),
            lambda sandbox, job_id, status: sandbox.data.update_job_execution(job_id, status),
            "`update-job-execution {0} {1}` again tells: it is accepted, or rejected with the executionState",
            raises_events=True,
        ),
        Command("wait", _MISC, "wait some seconds, or for an event", (SECONDS_OR_EVENT, TIMEOUT), _wait),
        Command("help", _MISC, "show the commands", (), lambda sandbox: sandbox.show_help()),
        Command("quit", _MISC, "leave (exit and Ctrl-D too)", (), _quit),
    )
}
_ALIASES = {"exit": "quit"}


class Invocation(NamedTuple):
    """A command and its checked arguments."""

    command: Command
    arguments: list[str]


def parse(line: str) -> Invocation | None:
    """A line as typed → what to do; None for a blank line or a ``#`` comment.

    Raises:
        UsageError: the line is no valid command. Nothing of it may be sent.

    """
    name, rest = split(line)
    if not name or name.startswith("#"):
        return None
    command = _named(name)
    if command is None:
        if name.startswith(("{", "[")):
            raise UsageError("a job document alone is no command.", next_step="put `create-job <jobId>` before it.")
        raise UsageError(
            f"unknown command {short(name)}{nearest(name, COMMANDS) or '.'}", next_step="help lists them all."
        )
    arguments = []
    try:
        for parameter in command.parameters:
            value, rest = (rest, "") if parameter.rest else split(rest)
            if value:
                arguments.append(parameter.check(value))
            elif parameter.required:
                raise UsageError(f"{command.name} needs {parameter.name}.")
        if rest.strip():
            raise UsageError(f"{command.name} takes no further argument: {short(rest)}")
    except UsageError as error:
        raise error.replace(next_step=error.next_step or f"usage: {command.usage}") from error.__cause__
    return Invocation(command, arguments)


def _named(name: str) -> Command | None:
    return COMMANDS.get(_ALIASES.get(name.lower(), name.lower()))


def help_lines() -> list[str]:
    """The supported commands, under the headings of the spec."""
    lines: list[str] = []
    for plane in (_CONTROL, _DATA, _MISC):
        lines += [*([""] if lines else []), plane]
        for command in COMMANDS.values():
            if command.plane == plane:
                lines += [f"  {command.usage}", f"      {command.summary}"]
    return lines


def complete(text: str, executions: Executions) -> Iterator[tuple[str, str, int]]:
    """Completions at the end of ``text``: candidate, its meaning, and how many characters it replaces."""
    word, rest = split(text)
    if text.lstrip() == word:
        yield from _matching(word, ((name, row.summary) for name, row in COMMANDS.items()))
    elif command := _named(word):
        for parameter in command.parameters:
            before, (word, rest) = rest, (rest, "") if parameter.rest else split(rest)
            if before == word:
                candidates = parameter.candidates(executions)
                if parameter.fields:
                    word, candidates = field_names(word, parameter.fields)
                yield from _matching(word, candidates)
                return


def _matching(word: str, candidates: Iterable[tuple[str, str]]) -> list[tuple[str, str, int]]:
    """The candidates that begin like the word, and then those that contain it, whatever the case."""
    found = [(candidate, meaning, len(word)) for candidate, meaning in candidates if word.lower() in candidate.lower()]
    return sorted(found, key=lambda item: not item[0].lower().startswith(word.lower()))
