"""One run of the program: the order of the start and the end, and the exit status."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, cast

from jobs_sandbox.core.errors import RequestFailed, StartError
from jobs_sandbox.core.exit_status import FAILED, OK
from jobs_sandbox.core.protocols import ControlPlane, Service
from jobs_sandbox.core.settings import Settings, connection_fields, new_client_id
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.device.process import DeviceProcess, device_environment
from jobs_sandbox.session.monitor import Monitor
from jobs_sandbox.session.session import Session
from jobs_sandbox.signals import Signals
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.script import PROMPT, read_lines, run_script

_GRACE = 2.0  # seconds, for a control plane that answers late, but with the reason
_CLOSE_TIMEOUT = 2.0  # seconds, to write what is left when a signal ends the program


Work = Callable[[argparse.Namespace, Console, Signals], Awaitable[int]]
"""The work of a run, between its start and its end; returns the exit status."""


def run(options: argparse.Namespace, work: Work | None = None) -> int:
    """Run the program to its end; returns the exit status.

    Args:
        options: of the command line.
        work: in place of a session with commands from the prompt or a script.

    """
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # they are files
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            # Some parents, such as Node, leave pipes that refuse a write instead of waiting.
            os.set_blocking(stream.fileno(), True)
    return asyncio.run(_main(options, work or _work))


async def _main(options: argparse.Namespace, work: Work) -> int:
    task = cast("asyncio.Task[int]", asyncio.current_task())
    signals = Signals(task)
    console = Console(
        options.output,
        sys.stdout,
        sys.stderr,
        colour=not os.environ.get("NO_COLOR") and not is_dumb(),
        on_closed=task.cancel,
    )
    status = OK
    try:
        status = await work(options, console, signals)
        await console.close()
    except asyncio.CancelledError:  # by a signal, or because stdout cannot be written
        await console.close(_CLOSE_TIMEOUT)
    if console.failure:
        console.report_failure()
        status = FAILED
    signals.close()
    return 128 + signals.number if signals.number else status


async def _work(options: argparse.Namespace, console: Console, signals: Signals) -> int:
    async with AsyncExitStack() as stack:
        try:
            session = await start_session(options, console, signals, stack)
        except StartError as error:
            console.error(error)
            return FAILED
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            if sys.stdin.isatty():
                console.notice(
                    "no prompt: standard output is not a terminal; type commands, one a line."
                )
            succeeded = await run_script(session, console, read_lines(sys.stdin.buffer))
            return OK if succeeded else FAILED
        if is_dumb():
            await _run_dumb(session, console, signals)
        else:
            await _run_prompt(session, console, signals)
        return OK


async def _run_prompt(session: Session, console: Console, signals: Signals) -> None:
    from jobs_sandbox.ui.prompt import Prompt
    from jobs_sandbox.ui.terminal import TerminalInput

    prompt = Prompt(session, console, TerminalInput(sys.stdin))
    with signals.interrupt_with(prompt.interrupt):
        await prompt.run()


async def _run_dumb(session: Session, console: Console, signals: Signals) -> None:
    """Run lines from a terminal that cannot move its cursor, after a prompt."""

    def interrupt() -> None:
        if not session.interrupt():  # the terminal itself has dropped what was typed
            console.prompt(f"\n{PROMPT}")

    with signals.interrupt_with(interrupt):
        await run_script(session, console, read_lines(sys.stdin.buffer), PROMPT)


def is_dumb() -> bool:
    """Whether the terminal can only print lines."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


async def start_session(
    options: argparse.Namespace, console: Console, signals: Signals, stack: AsyncExitStack
) -> Session:
    """Start what the options of a command line ask for.

    Args:
        options: of the command line.
        console: shows everything that happens.
        signals: a second one kills the device.
        stack: closes everything.

    Raises:
        StartError: with the cause.

    """
    local = None
    if options.local is None:
        settings = _account_settings(options)
    else:
        local, settings = await _start_local(options, console, stack)
    return await open_session(
        settings,
        console,
        stack,
        service=local,
        device_command=options.device,
        before_exit=signals.before_exit,
    )


async def open_session(
    settings: Settings,
    console: Console,
    stack: AsyncExitStack,
    *,
    service: Service | None,
    device_command: Sequence[str] | None,
    before_exit: Callable[[Callable[[], object]], object],
) -> Session:
    """Ensure the thing, connect, open both streams, start the device.

    Args:
        settings: of the run.
        console: shows everything that happens.
        stack: closes everything.
        service: the embedded AWS IoT, if it runs there.
        device_command: starts the device under test, if there is one.
        before_exit: gets a function that kills the device.

    Raises:
        StartError: with the cause.

    """
    await _load_sdks()
    from jobs_sandbox.data_plane.client import DataPlane

    monitor = Monitor(console)
    # It refuses unusable files, so it is made before anything is sent.
    connection = DataPlane(settings, monitor)
    control = await _ensure_thing(settings, console, stack)
    data = await stack.enter_async_context(connection)
    device = None
    if device_command:
        device = DeviceProcess(
            command=device_command,
            environment=device_environment(settings),
            on_line=console.device,
            flush=console.flush,
            on_end=lambda how: console.notice(f"the device has ended: {how}"),
        )
        stack.push_async_callback(device.close)
        before_exit(device.kill)
    console.notice(f"connected to {settings.endpoint}:{settings.port}; type help")
    if device:
        await device.start()
    return Session(
        settings,
        console,
        monitor=monitor,
        control=control,
        data=data,
        device=device,
        service=service,
    )


async def _load_sdks() -> None:
    """Load boto3 in a thread, and the device SDK meanwhile."""

    def load_boto3() -> None:
        importlib.import_module("jobs_sandbox.control_plane.client")

    loading = asyncio.create_task(in_thread(load_boto3))
    await asyncio.sleep(0)  # the thread has begun
    importlib.import_module("jobs_sandbox.data_plane.client")
    await loading


async def _ensure_thing(
    settings: Settings, console: Console, stack: AsyncExitStack
) -> ControlPlane:
    """Make the client of the control plane, and the thing if it does not exist.

    Raises:
        StartError: with the cause.

    """
    from jobs_sandbox.control_plane import client

    loop = asyncio.get_running_loop()

    def notice(message: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: the program ends
            loop.call_soon_threadsafe(console.notice, message)

    control = client.ControlPlane(settings, notice)
    stack.callback(control.close)
    seconds = settings.timeout + _GRACE
    try:
        async with asyncio.timeout(seconds):
            created = await in_thread(control.ensure_thing)
    except TimeoutError:
        error = control.no_answer(seconds)
    except RequestFailed as failure:
        error = failure
    else:
        if created:
            console.notice(f"created the thing {settings.thing}")
        return control
    raise StartError(error.message, cause=error.cause, next_step=error.next_step) from error


def _account_settings(options: argparse.Namespace) -> Settings:
    """The settings of a run against an AWS account."""
    endpoint, cert, key, region, thing = options.arguments
    settings = Settings(endpoint, cert, key, region, thing, options.client_id or new_client_id())
    return settings._replace(
        port=options.port or settings.port,
        ca_file=options.ca_file,
        profile=options.profile,
        endpoint_url=options.endpoint_url,
        timeout=options.timeout,
    )


async def _start_local(
    options: argparse.Namespace, console: Console, stack: AsyncExitStack
) -> tuple[Service, Settings]:
    """Start the embedded AWS IoT.

    Returns:
        It, and the settings of a run against it.

    Raises:
        StartError: it cannot be started.

    """
    from jobs_sandbox.local.policies import read_policy
    from jobs_sandbox.local.service import LocalIoT

    policy = None if options.policy is None else read_policy(options.policy)
    # A policy is tried on the device under test, if there is one. The prompt needs the shipped one.
    own_policy = None if options.device else policy
    local = LocalIoT(options.local, policy=own_policy, device_policy=policy)
    local.start()
    stack.push_async_callback(in_thread, local.stop)
    await _load_sdks()  # meanwhile it starts
    await in_thread(local.wait_ready)
    watching = asyncio.create_task(_watch(local, console))
    stack.callback(watching.cancel)
    settings = local_settings(local, options.client_id or new_client_id(), options.timeout)
    console.notice(
        "A local AWS IoT runs; to join it from another terminal: `connection`.",
        **connection_fields(settings),
    )
    return local, settings


def local_settings(local: Any, client_id: str, seconds: float) -> Settings:
    """The settings of a run against an embedded AWS IoT; a request may take so many seconds."""
    return Settings(
        endpoint=local.endpoint,
        cert=local.cert,
        key=local.key,
        region=local.region,
        thing=local.thing,
        client_id=client_id,
        port=local.port,
        ca_file=local.ca_file,
        endpoint_url=local.endpoint_url,
        timeout=seconds,
        environment=local.environment,
        device_cert=local.device_cert,
        device_key=local.device_key,
    )


async def _watch(local: Any, console: Console) -> None:
    how = await in_thread(local.wait_ended)
    console.warning(
        f"the local AWS IoT has ended ({how}): quit, and start again; its contents are lost."
    )
