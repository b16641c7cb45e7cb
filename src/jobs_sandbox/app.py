"""One run of the program: the order of the start, the end, and the exit status. The only place that decides it."""

import argparse
import asyncio
import fcntl
import importlib
import os
import sys
from contextlib import AsyncExitStack, suppress
from typing import Any, TextIO

from jobs_sandbox.core.errors import RequestFailed, StartError
from jobs_sandbox.core.exit_status import FAILED, OK
from jobs_sandbox.core.settings import Settings, connection_fields, new_client_id
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.local import REGION
from jobs_sandbox.session.session import Session
from jobs_sandbox.signals import Loop, Signals
from jobs_sandbox.ui.console import Console
from jobs_sandbox.ui.formatting import ESCAPE_UNENCODABLE
from jobs_sandbox.ui.script import read_lines, run_script

_LOCAL = "A local AWS IoT runs; to join it from another terminal: `connection`."
_GRACE_TIMEOUT = 2.0  # seconds, for a control plane that answers late, but itself says why
_CLOSE_TIMEOUT = 2.0  # seconds, to write what is left when the program is told to end


def run(options: argparse.Namespace) -> int:
    """Run the program to its end; the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=ESCAPE_UNENCODABLE)  # type: ignore[union-attr]
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            os.set_blocking(
                stream.fileno(), True
            )  # some parents leave a pipe that would refuse instead of wait
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(_main(options))


def _of_its_own(stream: TextIO) -> TextIO:
    """The same file with another buffer, for the console's thread.

    It holds the lock of its buffer for as long as the terminal is blocked. A main thread that waited for that lock, to
    draw a prompt, would not even handle a signal; one that itself waits to write does.
    """
    try:
        return open(
            stream.fileno(), "w", encoding=stream.encoding, errors=stream.errors, closefd=False
        )
    except (OSError, ValueError):  # it is no file
        return stream


def _is_terminal(stream: TextIO, wrong: int) -> bool:
    """Whether it is a terminal, and not open for the ``wrong`` direction alone, as after ``0>/dev/tty``."""
    with suppress(OSError, ValueError):  # it is no file
        if fcntl.fcntl(stream.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == wrong:
            return False
    return stream.isatty()


async def _main(options: argparse.Namespace) -> int:
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    with Signals() as signals:
        streams = _of_its_own(sys.stdout), _of_its_own(sys.stderr)
        console = Console(options.output, *streams, colour=colour, on_closed=signals.cancel)
        work = signals.task = asyncio.create_task(_work(options, console, signals))
        try:
            status: int = await work
        except asyncio.CancelledError:
            status = (
                128 + signals.number if signals.number else OK
            )  # the latter: nobody reads the output any more
        await console.close(_CLOSE_TIMEOUT if status > FAILED else None)
    if console.closed and streams[0] is not sys.stdout:
        with suppress(OSError):
            streams[
                0
            ].close()  # with what could not be written: it would be tried again when that is collected
    if console.failure:
        console.report_failure()
        return FAILED
    return status


async def _work(options: argparse.Namespace, console: Console, signals: Signals) -> int:
    async with AsyncExitStack() as stack:
        try:
            settings = await _settings(options, console, stack)
            session = Session(console, settings.thing, settings.timeout)
            session.join = connection_fields(settings)
            if options.local is not None:
                console.notice(_LOCAL, **session.join)
            await _start(settings, session, console, stack)
            if options.device:
                await _start_device(options.device, settings, session, console, stack)
        except StartError as error:
            console.error(error)
            return FAILED
        finally:
            stack.callback(signals.leave)  # the first that happens at the end
        if _is_terminal(sys.stdin, os.O_WRONLY) and _is_terminal(sys.stdout, os.O_RDONLY):
            from jobs_sandbox.ui.prompt import Repl

            repl = Repl(session, console, settings)
            signals.interrupt = repl.interrupt
            await repl.run()
            return OK
        lines = read_lines(sys.stdin.fileno(), console.warning)
        return OK if await run_script(session, console, lines) else FAILED


async def _settings(
    options: argparse.Namespace, console: Console, stack: AsyncExitStack
) -> Settings:
    """The settings."""
    client_id = options.client_id or new_client_id()
    if options.local is None:
        endpoint, cert, key, region, thing = options.arguments
        settings = Settings(endpoint, cert, key, region, thing, client_id, timeout=options.timeout)
        return settings._replace(
            port=options.port or settings.port,
            ca_file=options.ca_file,
            profile=options.profile,
            endpoint_url=options.endpoint_url,
        )
    local = await _start_local(options, console, stack)
    settings = Settings(
        local.endpoint,
        local.cert,
        local.key,
        local.region,
        local.thing,
        client_id,
        timeout=options.timeout,
    )
    settings = settings._replace(
        port=local.port, ca_file=local.ca_file, endpoint_url=local.endpoint_url
    )
    return settings._replace(environment=local.environment)


async def _start_local(options: argparse.Namespace, console: Console, stack: AsyncExitStack) -> Any:
    """Start the embedded AWS IoT, whose operator's credentials are this process's from then on.

    Raises:
        StartError: with the cause.

    """
    from jobs_sandbox.local.policies import read_policy
    from jobs_sandbox.local.service import LocalIoT

    policy = None if options.policy is None else read_policy(options.policy)
    local = LocalIoT(options.local, policy=policy)
    local.start()
    stack.push_async_callback(in_thread, local.stop)
    stack.callback(_restore, dict(os.environ))
    _isolate()
    await _load_sdks()  # meanwhile the child starts
    await in_thread(local.wait_ready)
    os.environ.update(local.environment)

    async def watch() -> None:
        how = await in_thread(local.wait_ended)
        console.warning(
            f"the local AWS IoT has ended ({how}): quit, and start again; what was in it is lost."
        )

    watching = asyncio.create_task(watch())
    stack.callback(watching.cancel)
    for warning in local.warnings:
        console.warning(warning)
    return local


def _isolate() -> None:
    """Until the control plane's client takes what it needs from the settings alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY="127.0.0.1",
        no_proxy="127.0.0.1",
    )


async def _load_sdks() -> None:
    def load_control_plane() -> None:
        from jobs_sandbox.control_plane.client import load

        load(REGION)

    loading = asyncio.create_task(in_thread(load_control_plane))
    await asyncio.sleep(0)  # its thread has begun
    importlib.import_module("jobs_sandbox.data_plane.client")
    await loading


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


async def _start(
    settings: Settings, session: Session, console: Console, stack: AsyncExitStack
) -> None:
    """Ensure the thing, connect, open both streams.

    Raises:
        StartError: with the cause.

    """
    from jobs_sandbox.data_plane.diagnosis import check_files

    if warning := check_files(settings):
        console.warning(warning)

    def ensure_thing() -> tuple[Any, bool]:
        from jobs_sandbox.control_plane.client import ControlPlane

        control = ControlPlane(settings)
        return control, control.ensure_thing()

    ensuring = asyncio.create_task(in_thread(ensure_thing))
    await asyncio.sleep(0)  # its thread has begun
    from jobs_sandbox.data_plane.client import (
        DataPlane,
    )  # while that is on the wire, the device SDK loads

    seconds = settings.timeout + _GRACE_TIMEOUT
    try:
        session.control, created = await asyncio.wait_for(ensuring, seconds)
    except RequestFailed as error:
        raise StartError(error.message, cause=error.cause, next_step=error.next_step) from error
    except TimeoutError:
        raise StartError(
            f"the control plane ({settings.control_plane}) did not answer within {seconds:g} s",
            cause="a slow network, a wrong region or --endpoint-url, or a proxy",
            next_step="try again with a larger --timeout.",
        ) from None
    if created:
        console.notice(f"created the thing {settings.thing}")
    session.data = await stack.enter_async_context(DataPlane(settings, session))
    console.notice(f"connected to {settings.endpoint}:{settings.port}; type help")


async def _start_device(
    command: list[str],
    settings: Settings,
    session: Session,
    console: Console,
    stack: AsyncExitStack,
) -> None:
    """Start the device under test.

    Raises:
        StartError: it cannot be started.

    """
    from jobs_sandbox.device.process import Device, device_environment

    session.device = device = Device(
        command=command,
        environment=device_environment(settings),
        on_line=console.device,
        flush=console.flush,
        on_end=lambda how: console.notice(f"the device has ended: {how}"),
    )
    stack.push_async_callback(device.close)
    await device.start()
