"""The commands that concern the program itself."""

import asyncio

from jobs_sandbox.commands.arguments import SECONDS_OR_EVENT, TIMEOUT
from jobs_sandbox.commands.command import (
    PROGRAM,
    SHOULD,
    Call,
    Parameter,
    command,
    find_command,
    summaries,
)
from jobs_sandbox.commands.completion import help_lines
from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit, UsageError
from jobs_sandbox.core.settings import connection_fields


@command(
    "wait",
    PROGRAM,
    SECONDS_OR_EVENT,
    TIMEOUT,
    summary="wait for an event, or for some seconds",
    details="An event counts if it came after the last command that causes events, and for one "
    "wait only. If none comes in time, the command fails.",
    example="wait NextJobExecutionChangedEvent 5",
)
async def wait(call: Call, what: float | str, seconds: float | None = None) -> None:
    """Wait for an event, or for some seconds."""
    if isinstance(what, str):
        await call.session.wait_for_event(what, seconds)
    elif seconds is not None:
        raise UsageError("a timeout goes with an event: wait <seconds>, or wait <EventTitle> 5.")
    else:
        await asyncio.sleep(what)


@command(
    "connection",
    PROGRAM,
    summary="show how a second client connects",
    details="It prints two lines to paste into another terminal, and all that another client "
    "needs. client_id is the program's own: another client takes another one.",
    example="connection",
    title=blocks.CONNECTION,
)
async def connection(call: Call) -> None:
    """Show what a second client needs to connect."""
    call.show(Block(blocks.CONNECTION, connection_fields(call.session.settings)))


@command(
    "stop-device",
    PROGRAM,
    summary="kill the device",
    details="It is killed with SIGKILL, as by a power cut, together with its process group.",
    example="stop-device",
    requires="--device",
)
async def stop_device(call: Call) -> None:
    """Kill the device under test."""
    await call.session.device.stop()


@command(
    "start-device",
    PROGRAM,
    summary="start the device again",
    example="start-device",
    requires="--device",
)
async def start_device(call: Call) -> None:
    """Start the device under test again."""
    await call.session.device.start()


def _topic(name: str) -> str:
    return SHOULD if name.lower() == SHOULD else find_command(name).name


_COMMAND = Parameter(
    "[command]",
    _topic,
    "the name of a command",
    lambda _: summaries(),
    required=False,
)


@command(
    "help",
    PROGRAM,
    _COMMAND,
    summary="list the commands, or explain one",
    example="help update-job-execution",
    title=blocks.HELP,
)
async def show_help(call: Call, name: str = "") -> None:
    """List the commands, or explain one."""
    call.show(Block(blocks.HELP, {"lines": help_lines(name)}))


@command("quit", PROGRAM, summary="leave (also: exit, Ctrl-D)", example="quit")
async def leave(_: Call) -> None:
    """Leave the program."""
    raise Quit
