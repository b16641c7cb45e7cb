"""The command table: parsing, dispatch, help and completion all come from it. Knows the planes as Protocols only."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, Protocol

from jobs_sandbox import json_text
from jobs_sandbox.blocks import Block
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
from jobs_sandbox.planes import ControlPlane, DataPlane


class Sandbox(Protocol):
    """What the handler of a command works with."""

    @property
    def data(self) -> DataPlane:
        """The data plane."""

    def show(self, block: Block) -> None:
        """Take the answer to the command; to be called in the very callback in which it arrives."""

    async def operate(self, work: Callable[[ControlPlane], Block]) -> Block:
        """Run ``work`` with the control plane, in a thread, and show the block that it returns."""

    async def wait(self, seconds: float | None, event: str | None) -> None:
        """Wait for an event, or just so long."""

    async def expect(self, job_id: str, status: str, seconds: float | None) -> None:
        """Wait until this thing's execution of a job has that status, and show it."""

    def show_connection(self) -> None:
        """Show what a second client needs to connect."""

    async def start_device(self) -> None:
        """Start the device under test again."""

    async def stop_device(self) -> None:
        """Kill the device under test, as a power cut would."""


class Quit(Exception):
    """Leave the program."""


class Command(NamedTuple):
    """A row of the table.

    Attributes:
        name: what is typed.
        plane: the heading it stands under in the help.
        summary: one line for help and completion.
        parameters: its arguments.
        handler: does it, and shows its answer; a coroutine function.
        check_with: for a command that changes something, how to see whether it did; ``{0}`` is its first argument.
        raises_events: whether events follow it.
        waits: it is done when something has come, however long that takes.

    """

    name: str
    plane: str
    summary: str
    parameters: tuple[Parameter, ...]
    handler: Callable[..., Awaitable[None]]
    check_with: str = ""
    raises_events: bool = False
    waits: bool = False

    @property
    def usage(self) -> str:
        """The usage line."""
        return " ".join([self.name, *(parameter.name for parameter in self.parameters)])


async def _create_job(sandbox: Sandbox, job_id: str, document: str) -> None:
    try:
        await sandbox.operate(lambda control: control.create_job(job_id, document))
    except AlreadyExists as error:
        if not error.retried:
            raise
        ours = await _is_ours(sandbox, job_id, document)
        if not ours:
            raise error.replace(uncertain=ours is None) from error
        body = {"description": None, "jobArn": error.job_arn, "jobId": job_id}
        note = "the first answer was lost and the retry found the job there, with this document"
        sandbox.show(Block("CreateJobOutput", body, note=note))


async def _is_ours(sandbox: Sandbox, job_id: str, document: str) -> bool | None:
    """Whether the job that exists carries the document that was to be created; None if that cannot be seen."""
    with suppress(SandboxError):
        described = await sandbox.data.describe_job_execution(lambda _: None, job_id, {})
        match described.body:
            case {"execution": {"jobDocument": found}}:
                return json_text.same_json(json_text.loads(document), found)
    return None


async def _delete_job(sandbox: Sandbox, job_id: str) -> None:
    await sandbox.operate(lambda control: control.delete_job(job_id))


async def _get_pending(sandbox: Sandbox) -> None:
    await sandbox.data.get_pending_job_executions(sandbox.show)


async def _start_next(sandbox: Sandbox) -> None:
    await sandbox.data.start_next_pending_job_execution(sandbox.show, {})


async def _describe(sandbox: Sandbox, job_id: str) -> None:
    await sandbox.data.describe_job_execution(sandbox.show, job_id, {})


async def _update(sandbox: Sandbox, job_id: str, status: str) -> None:
    await sandbox.data.update_job_execution(sandbox.show, job_id, status, {})


async def _wait(sandbox: Sandbox, what: str, limit: str | None = None) -> None:
    if what in EVENTS:
        await sandbox.wait(None if limit is None else float(limit), what)
    elif limit is not None:
        raise UsageError("a timeout goes with an event.", next_step=f"usage: {COMMANDS['wait'].usage}")
    else:
        await sandbox.wait(float(what), None)


async def _help(sandbox: Sandbox) -> None:
    sandbox.show(Block("Help", {"lines": help_lines()}))


async def _quit(_: Sandbox) -> None:
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
            _get_pending,
        ),
        Command(
            "start-next-pending-job-execution",
            _DATA,
            "move the next queued execution to IN_PROGRESS",
            (),
            _start_next,
            "`get-pending-job-executions` shows whether an execution was started",
        ),
        Command(
            "describe-job-execution",
            _DATA,
            "show this thing's execution of a job, or of $next",
            (JOB_OR_NEXT,),
            _describe,
        ),
        Command(
            "update-job-execution",
            _DATA,
            "set the status of this thing's execution of a job",
            (JOB, STATUS),
            _update,
            "`update-job-execution {0} {1}` again tells: it is accepted, or rejected with the executionState",
            raises_events=True,
        ),
        Command("wait", _MISC, "wait some seconds, or for an event", (SECONDS_OR_EVENT, TIMEOUT), _wait),
        Command("help", _MISC, "show the commands", (), _help),
        Command("quit", _MISC, "leave (exit and Ctrl-D too)", (), _quit),
    )
}
_ALIASES = {"exit": "quit"}


class Invocation(NamedTuple):
    """A command and its checked arguments."""

    command: Command
    arguments: list[str]

    @property
    def label(self) -> str:
        """The command and its first argument, to name its answer when that comes late."""
        return " ".join([self.command.name, *self.arguments[:1]])

    @property
    def check_with(self) -> str:
        """How to see whether it was carried out, or ``""`` for a command that changes nothing."""
        return self.command.check_with.format(*self.arguments)

    @property
    def update(self) -> tuple[str, str] | tuple[()]:
        """Job id and status of an update, else nothing."""
        return (self.arguments[0], self.arguments[1]) if self.command.handler is _update else ()

    @property
    def attempt(self) -> tuple[str, str] | None:
        """Job id and status that this command may give an execution; ``""`` for whichever is the next."""
        attempts = {_create_job: "QUEUED", _start_next: "IN_PROGRESS"}
        if status := attempts.get(self.command.handler):
            return self.arguments[0] if self.arguments else "", status
        return self.update or None

    @property
    def is_answered(self) -> bool:
        """Whether a service answers it: then its answer is shown even when nobody waits for it any more."""
        return self.command.plane != _MISC and not self.command.waits

    async def run(self, sandbox: Sandbox) -> None:
        """Do it."""
        await self.command.handler(sandbox, *self.arguments)


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
