"""The command table, and what a line means by it. Help and completion (`guide`) come from it too. Knows no SDK."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from jobs_sandbox.commands import handlers
from jobs_sandbox.commands.arguments import (
    ANY_STATUS,
    DESCRIBE,
    DOCUMENT,
    FORCE,
    JOB,
    JOB_OR_NEXT,
    NEW_JOB,
    SECONDS_OR_EVENT,
    START,
    STATUS,
    TIMEOUT,
    UPDATE,
    Parameter,
)
from jobs_sandbox.commands.handlers import Sandbox
from jobs_sandbox.commands.lines import split
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.text import nearest, short

CONTROL, DATA, MISC = "Control Plane", "Data Plane", "Miscellaneous"


class Command(NamedTuple):
    """A row of the table.

    Attributes:
        name: what is typed.
        plane: the heading it stands under in the help.
        summary: one line for help and completion.
        parameters: its arguments.
        handler: does it, with a `Sandbox` and the checked arguments.
        example: a line to paste.
        prints: the title of its block, and the events that follow.
        check_with: for a command that changes something, how to see whether it did; ``{0}`` is its first argument.
        sets: the status that it may give an execution; ``{1}`` is its second argument.
        raises_events: whether events follow it.
        waits: it is done when something has come, however long that takes.

    """

    name: str
    plane: str
    summary: str
    parameters: tuple[Parameter, ...]
    handler: Callable[..., Awaitable[None]]
    example: str
    prints: str
    check_with: str = ""
    sets: str = ""
    raises_events: bool = False
    waits: bool = False

    @property
    def usage(self) -> str:
        """The usage line."""
        return " ".join([self.name, *(parameter.name for parameter in self.parameters)])


def _known(what_is_not: str, name: str) -> Command:
    command = named(name)
    if command is None:
        raise UsageError(
            f"{what_is_not} {short(name)}{nearest(name, COMMANDS) or '.'}",
            next_step="help lists them all.",
        )
    return command


_COMMAND = Parameter(
    "[command]",
    lambda value: _known("there is no command", value).name,
    "the name of one, to have it explained",
    lambda _: ((command.name, command.summary) for command in COMMANDS.values()),
    required=False,
)
COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "create-job",
            CONTROL,
            "create a job that targets this thing",
            (NEW_JOB, DOCUMENT),
            handlers.create_job,
            'create-job Job1 {"Todo":"Reboot"}',
            "CreateJobOutput; JobExecutionsChangedEvent, and NextJobExecutionChangedEvent if nothing was pending",
            "`describe-job-execution {0}` shows whether the job is there (TerminalStateReached: it is, and has ended)",
            sets="QUEUED",
            raises_events=True,
        ),
        Command(
            "delete-job",
            CONTROL,
            "delete a job whose executions are all terminal",
            (JOB,),
            handlers.delete_job,
            "delete-job Job1",
            "DeleteJobOutput; no event",
            "`delete-job {0}` again shows: ResourceNotFoundException means that it is gone",
        ),
        Command(
            "cancel-job",
            CONTROL,
            "cancel a job; without force, executions in progress are left alone",
            (JOB, FORCE),
            handlers.cancel_job,
            "cancel-job Job1 force",
            "CancelJobOutput; if it ends a pending execution, JobExecutionsChangedEvent, and "
            "NextJobExecutionChangedEvent if that was the next",
            "`get-pending-job-executions` shows whether its execution is still pending",
            sets="CANCELED",
            raises_events=True,
        ),
        Command(
            "expect",
            CONTROL,
            "wait until this thing's execution of a job has a status; fail if it ends in another",
            (JOB, ANY_STATUS, TIMEOUT),
            handlers.expect,
            "expect Job1 SUCCEEDED 30",
            "DescribeJobExecutionOutput, when the execution has that status; no event",
            waits=True,
        ),
        Command(
            "get-pending-job-executions",
            DATA,
            "list this thing's executions that are not terminal",
            (),
            handlers.get_pending,
            "get-pending-job-executions",
            "GetPendingJobExecutionsResponse; no event",
        ),
        Command(
            "start-next-pending-job-execution",
            DATA,
            "move the next queued execution to IN_PROGRESS",
            (START,),
            handlers.start_next,
            "start-next-pending-job-execution",
            "StartNextJobExecutionResponse, with no execution when none is pending; no event",
            "`get-pending-job-executions` shows whether an execution was started",
            sets="IN_PROGRESS",
        ),
        Command(
            "describe-job-execution",
            DATA,
            "show this thing's execution of a job, or of $next",
            (JOB_OR_NEXT, DESCRIBE),
            handlers.describe,
            "describe-job-execution $next",
            "DescribeJobExecutionResponse, or TerminalStateReached for an execution that has ended; no event",
        ),
        Command(
            "update-job-execution",
            DATA,
            "set the status of this thing's execution of a job",
            (JOB, STATUS, UPDATE),
            handlers.update,
            'update-job-execution Job1 IN_PROGRESS {"statusDetails":{"step":"2/5"}}',
            "UpdateJobExecutionResult; after a terminal status JobExecutionsChangedEvent, and "
            "NextJobExecutionChangedEvent if it was the next",
            "`update-job-execution {0} {1}` again tells: it is accepted, or rejected with the executionState",
            sets="{1}",
            raises_events=True,
        ),
        Command(
            "wait",
            MISC,
            "wait some seconds, or for an event",
            (SECONDS_OR_EVENT, TIMEOUT),
            handlers.wait,
            "wait NextJobExecutionChangedEvent 5",
            "nothing of its own: events are printed as they come",
            waits=True,
        ),
        Command(
            "connection",
            MISC,
            "show what a second client needs to connect",
            (),
            handlers.connection,
            "connection",
            "Connection; its client_id is this program's own, and another client needs another",
        ),
        Command(
            "stop-device",
            MISC,
            "kill the device of --device, as a power cut would",
            (),
            handlers.stop_device,
            "stop-device",
            "nothing of its own",
        ),
        Command(
            "start-device",
            MISC,
            "start the device of --device again",
            (),
            handlers.start_device,
            "start-device",
            "nothing of its own",
        ),
        Command(
            "help",
            MISC,
            "show the commands, or explain one",
            (_COMMAND,),
            handlers.show_help,
            "help update-job-execution",
            "Help",
        ),
        Command("quit", MISC, "leave (exit and Ctrl-D too)", (), handlers.leave, "quit", "nothing"),
    )
}
_ALIASES = {"exit": "quit"}


class Invocation(NamedTuple):
    """A command and its checked arguments."""

    command: Command
    arguments: list[Any]

    @property
    def job_id(self) -> str:
        """The job id that it names, or ``""``."""
        takes_one = self.command.parameters and self.command.parameters[0].name == JOB.name
        return str(self.arguments[0]) if takes_one else ""

    @property
    def label(self) -> str:
        """The command and its job id, to name its answer when that comes late."""
        return f"{self.command.name} {self.job_id}".rstrip()

    @property
    def check_with(self) -> str:
        """How to see whether it was carried out, or ``""`` for a command that changes nothing."""
        return self.command.check_with.format(*self.arguments)

    @property
    def attempt(self) -> tuple[str, str] | None:
        """Job id and status that this command may give an execution; ``""`` for whichever is the next."""
        return (
            (self.job_id, self.command.sets.format(*self.arguments)) if self.command.sets else None
        )

    @property
    def is_answered(self) -> bool:
        """Whether a service answers it: then its answer is shown even when nobody waits for it any more."""
        return self.command.plane != MISC and not self.command.waits

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
    if name.startswith(("{", "[")):
        raise UsageError(
            "a job document alone is no command.", next_step="put `create-job <jobId>` before it."
        )
    command = _known("unknown command", name)
    try:
        return Invocation(command, _arguments(command, rest))
    except UsageError as error:
        raise error.replace(
            next_step=error.next_step or f"usage: {command.usage}"
        ) from error.__cause__


def named(name: str) -> Command | None:
    """The command of that name, whatever its case, or of that other name."""
    return COMMANDS.get(_ALIASES.get(name.lower(), name.lower()))


def _arguments(command: Command, rest: str) -> list[Any]:
    arguments = []
    for parameter in command.parameters:
        value, rest = (rest, "") if parameter.rest else split(rest)
        if value:
            arguments.append(parameter.check(value))
        elif parameter.required:
            raise UsageError(f"{command.name} needs {parameter.name}.")
    if rest.strip():
        raise UsageError(f"{command.name} takes no further argument: {short(rest)}")
    return arguments
