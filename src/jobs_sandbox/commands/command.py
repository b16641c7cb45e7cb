"""Commands and their parameters, the table of all commands, and typed lines as calls."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from jobs_sandbox.commands.documents import Field
from jobs_sandbox.commands.lines import first_word
from jobs_sandbox.core.blocks import TOPICS, Block
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.protocols import ControlPlane, DataPlane, Device, Service
from jobs_sandbox.core.settings import Settings
from jobs_sandbox.core.text import nearest, short
from jobs_sandbox.core.threads import in_thread

CONTROL, DATA, PROGRAM = "Control Plane", "Data Plane", "Miscellaneous"
PLANES = (CONTROL, DATA, PROGRAM)
SHOULD = "should"
_ALIASES = {"exit": "quit"}

Function = Callable[..., Awaitable[None]]
"""Carries a command out: it gets the `Call` and the checked arguments that were given."""

JobStatuses = Mapping[str, str]
"""Job id → the status of this thing's execution, as last reported; for completion."""


class Session(Protocol):
    """The part of the session that commands use."""

    @property
    def settings(self) -> Settings:
        """The settings of the run."""

    @property
    def control(self) -> ControlPlane:
        """The control plane."""

    @property
    def data(self) -> DataPlane:
        """The data plane."""

    @property
    def device(self) -> Device:
        """The device under test; raises `UsageError` if there is none."""

    @property
    def service(self) -> Service | None:
        """The embedded AWS IoT of ``--local``; None without it."""

    def show(self, block: Block, call: "Call") -> None:
        """Show a block that answers a call."""

    async def wait_for_event(self, title: str, seconds: float | None) -> None:
        """Wait for an event, by default for ``--timeout``; may raise `RequestFailed`."""

    async def expect(self, job_id: str, status: str, seconds: float | None) -> Block:
        """Wait for the status of an execution; returns the block that shows it."""

    async def diagnose(self, job_id: str) -> Block:
        """Find out why a job is stuck; returns the block that says it."""

    # These raise `UsageError` without ``--local``.

    async def fault(self, kind: str, **details: Any) -> None:
        """Cause a fault; see `Service.fault`."""

    async def device_activity(self) -> dict[str, Any]:
        """The body of a block that shows what the device has done."""

    async def expect_device(
        self, fact: str, bound: str, number: int, seconds: float | None
    ) -> None:
        """Judge what the device does; raises `RequestFailed` if a bound is not kept."""


class Parameter(NamedTuple):
    """A parameter of a command.

    Attributes:
        name: as the usage line shows it.
        check: converts the typed text; raises `UsageError` for text that must not be sent.
        meaning: which values it takes, one line for the help.
        candidates: completions with a hint of at most 40 characters each.
        rest: it takes the rest of the line as it is, blanks included.
        divide: with ``rest``, what it takes of that, and what the next parameter gets.
        required: the command does nothing without it.
        fields: it is a JSON object with these fields.

    """

    name: str
    check: Callable[[str], Any]
    meaning: str
    candidates: Callable[[JobStatuses], Iterable[tuple[str, str]]] = lambda _: ()
    rest: bool = False
    divide: Callable[[str], tuple[str, str]] = lambda text: (text, "")
    required: bool = True
    fields: Mapping[str, Field] = MappingProxyType({})

    def split(self, text: str) -> tuple[str, str]:
        """The part of a text that belongs to this parameter, and the rest."""
        return self.divide(text) if self.rest else first_word(text)


@dataclass(frozen=True, kw_only=True)
class Command:
    """Everything that is true of a command; help, completion and documents are made from it.

    Attributes:
        name: what is typed.
        plane: the heading of the help that it belongs to.
        parameters: in order; optional ones last.
        function: carries it out.
        summary: at most 40 characters, for completion and the list of commands.
        example: a line to paste.
        details: sentences for its own help.
        title: the title of the block it prints.
        events: the events that follow, in words.
        operation: the operation of AWS IoT that it calls.
        permissions: actions of the control plane that it needs, with the resources they are needed
            on.
        verify_hint: how to find out whether it was carried out, if its answer is lost; ``{0}`` is
            its first argument. A command that changes nothing has none.
        repeats: it repeats its request, for as long as its arguments say.
        requires: the option of the program that it needs, or ``""``.

    """

    name: str
    plane: str
    parameters: tuple[Parameter, ...]
    function: Function
    summary: str
    example: str
    details: str = ""
    title: str = ""
    events: str = ""
    operation: str = ""
    permissions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    verify_hint: str = ""
    repeats: bool = False
    requires: str = ""

    @property
    def usage(self) -> str:
        """The usage line."""
        return " ".join([self.name, *(parameter.name for parameter in self.parameters)])

    @property
    def topic(self) -> str:
        """The MQTT topic of its request below ``$aws/things/<thing>/jobs/``, or ``""``."""
        return TOPICS[self.title] if self.plane == DATA else ""

    @property
    def is_one_request(self) -> bool:
        """Whether it sends one request and ends with its answer."""
        return self.operation != "" and not self.repeats


COMMANDS: dict[str, Command] = {}
"""All commands by name. The modules of this package fill it when they load."""


def command(
    name: str, plane: str, *parameters: Parameter, **attributes: Any
) -> Callable[[Function], Command]:
    """Define a command: a decorator for the function that carries it out; see `Command`.

    A command of the control plane prints the output of its operation, unless it has a ``title``.
    """
    if plane == CONTROL:
        attributes.setdefault("title", f"{attributes['operation']}Output")

    def define(function: Function) -> Command:
        COMMANDS[name] = Command(
            name=name, plane=plane, parameters=parameters, function=function, **attributes
        )
        return COMMANDS[name]

    return define


@dataclass
class Call:
    """A command that was typed, and how it is going.

    Attributes:
        command: the command.
        arguments: its checked arguments.
        session: what it works with.
        abandoned: the user no longer waits for it (Ctrl-C); its answer is still shown.
        optional: the line began with ``should``: a failure is a warning.

    """

    command: Command
    arguments: list[Any]
    session: Session
    abandoned: bool = False
    optional: bool = False

    @property
    def job_id(self) -> str:
        """The job id that it names, or ``""``."""
        names_a_job = self.command.parameters and self.command.parameters[0].name == "<jobId>"
        return str(self.arguments[0]) if names_a_job else ""

    @property
    def label(self) -> str:
        """The command and its job id, for messages about it."""
        return f"{self.command.name} {self.job_id}".rstrip()

    @property
    def verify_hint(self) -> str:
        """How to find out whether it was carried out, or ``""`` if it changes nothing."""
        return self.command.verify_hint.format(*self.arguments)

    def show(self, block: Block) -> None:
        """Show its answer. Called in the callback in which the answer arrived."""
        self.session.show(block, self)

    async def on_control_plane(self, work: Callable[[ControlPlane], Block]) -> None:
        """Run ``work`` with the control plane in a thread, and show its block."""
        await in_thread(lambda: work(self.session.control), self.show)

    async def run(self) -> None:
        """Carry it out."""
        await self.command.function(self, *self.arguments)


def summaries() -> list[tuple[str, str]]:
    """The names of all commands with their summaries."""
    return [(name, command.summary) for name, command in COMMANDS.items()]


def parse(line: str, session: Session) -> Call | None:
    """Read a line as typed; None for a blank line or a ``#`` comment.

    A line that begins with `SHOULD` is tried: if it fails, that is a warning.

    Raises:
        UsageError: the line is not a valid command.

    """
    name, rest = first_word(line)
    if not name or name.startswith("#"):
        return None
    optional = name.lower() == SHOULD
    if optional:
        name, rest = first_word(rest)
        if not name:
            raise UsageError("should needs a command.", next_step=f"see `help {SHOULD}`.")
    if name.startswith(("{", "[")):
        raise UsageError(
            "a job document alone is not a command.",
            next_step="put `create-job <jobId>` before it.",
        )
    command = find_command(name)
    try:
        arguments = check_arguments(command.name, command.parameters, rest)
    except UsageError as error:
        if error.next_step:
            raise
        raise error.replace(next_step=f"usage: {command.usage}") from error
    return Call(command, arguments, session, optional=optional)


def find_command(name: str) -> Command:
    """The command of that name, in upper or lower case.

    Raises:
        UsageError: there is none; it names the nearest ones.

    """
    known = name.lower()
    found = COMMANDS.get(_ALIASES.get(known, known))
    if found is None:
        hint = nearest(name, COMMANDS) or "."
        raise UsageError(
            f"unknown command {short(name)}{hint}", next_step="help lists all commands."
        )
    return found


def check_arguments(name: str, parameters: Iterable[Parameter], rest: str) -> list[Any]:
    """The checked arguments of a command, from the rest of its line; raises `UsageError`."""
    arguments = []
    for parameter in parameters:
        value, rest = parameter.split(rest)
        if value:
            arguments.append(parameter.check(value))
        elif parameter.required:
            raise UsageError(f"{name} needs {parameter.name}.")
    if rest.strip():
        raise UsageError(f"{name} takes no further argument: {short(rest)}")
    return arguments
