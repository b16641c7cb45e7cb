"""Run the scenarios against a device, some at a time, and report the result of each."""

import argparse
import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from jobs_sandbox import app
from jobs_sandbox.check.report import (
    Failure,
    Problem,
    Result,
    by_hand,
    details,
    junit,
    result_body,
    result_text,
    summary,
    summary_body,
)
from jobs_sandbox.check.scenarios import Line, Scenario, choose
from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Quit, SandboxError, StartError, UsageError
from jobs_sandbox.core.exit_status import FAILED, OK, USAGE_ERROR
from jobs_sandbox.local.policies import device_policy_for, read_policy
from jobs_sandbox.session import watched
from jobs_sandbox.session.activity import Activity
from jobs_sandbox.session.session import Session
from jobs_sandbox.signals import Signals
from jobs_sandbox.ui.console import Console

AT_A_TIME = 3
"""Scenarios that run side by side: they mostly wait."""

LAST_LINES = 10
"""Of the device's output, in a report."""

_POWER = ("stop-device", "start-device")
# Causes of a failed TLS handshake, by words of OpenSSL or of `local.child.activity`.
_HANDSHAKES = {
    "ALERT": "the device refused the server's certificate: does it trust IOT_CA_FILE, and does it "
    "connect to the name in IOT_ENDPOINT?",
    "closed by the device": "the device ended the TLS handshake: does it trust IOT_CA_FILE, and "
    "does it connect to the name in IOT_ENDPOINT?",
    "PEER_DID_NOT_RETURN": "the device showed no client certificate: IOT_CERT and IOT_KEY",
    "VERIFY": "the device showed a client certificate that AWS IoT does not know: IOT_CERT",
    "WRONG_VERSION": "the device does not speak TLS",
    "HTTP_REQUEST": "the device speaks HTTP, and not MQTT over TLS",
}


def run(options: argparse.Namespace) -> int:
    """Judge a device; returns the exit status."""
    return app.run(options, _check)


async def _check(options: argparse.Namespace, console: Console, signals: Signals) -> int:
    try:
        scenarios = choose(options.arguments, everything=options.all or options.list)
        if options.list:
            _list(scenarios, console)
            return OK
        _try_the_files(options)
    except UsageError as error:
        console.error(error)
        return USAGE_ERROR
    check = Check(options, console, signals, scenarios)
    async with AsyncExitStack() as stack:
        if sys.stdout.isatty() and options.output == "text" and not app.is_dumb():
            from jobs_sandbox.ui.progress import progress_line  # only a terminal needs it

            await stack.enter_async_context(progress_line(console, check.progress))
        return await check.run()


def _list(scenarios: list[Scenario], console: Console) -> None:
    width = max(len(scenario.name) for scenario in scenarios)
    for scenario in scenarios:
        names = ("name", "group", "must", "slow")
        body = {name: getattr(scenario, name) for name in names}
        slow = " (slow: when named, or with --all)" if scenario.slow else ""
        text = f"{scenario.name:<{width}}  {scenario.must}{slow}"
        console.line(text, Block(blocks.SCENARIO, body))


def _try_the_files(options: argparse.Namespace) -> None:
    """Open the files of the options before anything starts; raises `UsageError`."""
    if options.policy:
        try:
            device_policy_for(options.local, read_policy(options.policy))
        except StartError as error:
            raise UsageError(error.message, next_step=error.next_step) from error
    try:
        if options.log:
            Path(options.log).mkdir(parents=True, exist_ok=True)
        if options.junit:
            Path(options.junit).open("ab").close()
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}.",
            next_step="check the path after --junit or --log.",
        ) from error


class _Transcript(Console):
    """Writes everything that happens in a session to one file, and keeps what a device printed."""

    def __init__(self, file: TextIO) -> None:
        super().__init__("text", file, file, colour=False, on_closed=lambda: None)
        self.output: deque[str] = deque(maxlen=LAST_LINES)

    def device(self, line: str) -> None:
        self.output.append(line)
        super().device(line)


class Check:
    """One run of scenarios against a device.

    Args:
        options: of the command line.
        console: where results are shown.
        signals: kill the devices when a second one comes.
        scenarios: what to run.

    """

    def __init__(
        self,
        options: argparse.Namespace,
        console: Console,
        signals: Signals,
        scenarios: list[Scenario],
    ) -> None:
        self._options = options
        self._console = console
        self._signals = signals
        self._scenarios = scenarios
        self._results: list[Result] = []
        # Why no scenario could be run.
        self._failure: Failure | None = None
        # Those that had problems beside others, and run again.
        self._repeated: list[Result] = []
        # By the name of each scenario that runs, what it is waiting for.
        self._running: dict[str, str] = {}
        self._began = time.monotonic()

    def progress(self) -> str:
        """One line on what is going on."""
        waiting = "; ".join(f"{name}: {what}" for name, what in self._running.items())
        again = f", {len(self._repeated)} to be repeated" if self._repeated else ""
        return f"{len(self._results)} of {len(self._scenarios)} done{again}.  {waiting}"

    async def run(self) -> int:
        """Run everything, and show the results as they come; returns the exit status."""
        try:
            self._failure = await self._first_questions()
            if self._failure is None:
                await self._run_scenarios()
        finally:
            self._running.clear()
            for result in self._repeated:  # after an interruption
                self._show(result)
            self._end()
        failed = self._failure or any(result.failed for result in self._results)
        return FAILED if failed else OK

    def _end(self) -> None:
        """Show the summary and write the report, also of a run that was interrupted."""
        done = {result.scenario.path for result in self._results}
        left_out = [scenario for scenario in self._scenarios if scenario.path not in done]
        seconds = time.monotonic() - self._began
        body = summary_body(self._results, left_out, seconds, self._failure)
        if self._options.output == "json":
            self._console.line("", Block(blocks.SUMMARY, body))
        elif self._failure is None:
            again = by_hand(self._options.device, self._options.policy)
            for line in summary(self._results, len(left_out), seconds, again):
                self._console.echo(line)
        if self._options.junit:
            try:
                report = junit(self._results, left_out, self._failure)
                Path(self._options.junit).write_bytes(report)
            except OSError as error:
                self._console.warning(f"the report cannot be written: {error}")

    async def _run_scenarios(self) -> None:
        """Run some side by side, and those with problems again, each alone.

        Two devices on one machine may be in each other's way: by a file, a lock or a port.
        """
        waiting = iter(sorted(self._scenarios, key=_lasts_short))

        async def work() -> None:
            for scenario in waiting:
                result = await self._run_scenario(scenario)
                # A warning is not worth the time that a slow one takes.
                again = result.failed or (result.problems and not scenario.slow)
                if again and len(self._scenarios) > 1:
                    self._repeated.append(result)
                else:
                    self._show(result)

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(work())
        while self._repeated:
            result = await self._run_scenario(self._repeated[0].scenario)
            first = self._repeated.pop(0)
            better = not result.failed and result.outcome != first.outcome
            self._show(replace(result, alone=better))

    def _show(self, result: Result) -> None:
        self._results.append(result)
        self._console.line(result_text(result), Block(blocks.SCENARIO, result_body(result)))

    @asynccontextmanager
    async def _transcript(self, name: str) -> AsyncIterator[_Transcript]:
        path = Path(os.devnull)
        if self._options.log:
            path = Path(self._options.log) / f"{name.replace('/', '_')}.log"
        with path.open("w", encoding="utf-8") as file:
            transcript = _Transcript(file)
            try:
                yield transcript
            finally:
                await transcript.close()

    # The cheap questions

    async def _first_questions(self) -> Failure | None:
        """Whether the device starts, connects and asks for something; if not, why."""
        self._running["start"] = "the device starts, connects and subscribes"
        async with self._transcript("start") as transcript, AsyncExitStack() as stack:
            try:
                session = await app.start_session(self._options, transcript, self._signals, stack)
                activity, error = await _first_steps(session)
            except SandboxError as refusal:
                activity, error = None, refusal
        del self._running["start"]
        if error is None:
            return None
        self._console.error(error)
        story = activity.story() if activity else []
        failure = Failure(error, story, list(transcript.output))
        if activity is not None and self._options.output == "text":
            for line in details(failure.story, failure.output):
                self._console.echo(line)
        return failure

    # A scenario

    async def _run_scenario(self, scenario: Scenario) -> Result:
        began = time.monotonic()
        problems: list[Problem] = []
        story: list[str] = []
        line = scenario.lines[0] if scenario.lines else Line(1, "")
        self._running[scenario.name] = "start"
        async with self._transcript(scenario.name) as transcript, AsyncExitStack() as stack:
            try:
                session = await app.start_session(self._options, transcript, self._signals, stack)
                for line in scenario.lines:
                    self._running[scenario.name] = line.text
                    transcript.echo(f"> {line.text}")
                    try:
                        await _run_line(session, line, scenario)
                    except SandboxError as error:
                        transcript.error(error, line=line.number)
                        problems.append(Problem(line, error))
                        if not error.is_warning:
                            break
                with suppress(SandboxError):
                    story = (await session.activity()).story()
            except Quit:
                pass
            except SandboxError as error:
                problems.append(Problem(line, error))
        self._running.pop(scenario.name, None)
        seconds = time.monotonic() - began
        return Result(scenario, seconds, problems, story, list(transcript.output))


def _lasts_short(scenario: Scenario) -> tuple[bool, bool]:
    """The long ones come first, so that none runs alone in the end."""
    # Scenarios of the other groups wait until a device has connected again.
    return not scenario.slow, scenario.group == "jobs"


async def _first_steps(session: Session) -> tuple[Activity, SandboxError | None]:
    """Wait for the device's first steps; what it did, and why they did not come."""
    seconds = session.settings.timeout
    end = time.monotonic() + seconds
    while True:
        activity = await session.activity()
        if activity.is_at_work:
            return activity, None
        if session.device.has_ended:
            error: SandboxError = watched.has_ended(session, activity)
            if not error.cause and activity.failed_handshake:
                error = error.replace(cause=_why_no_connect(activity.failed_handshake))
            return activity, error
        if time.monotonic() >= end:
            break
        await asyncio.sleep(watched.LOOK_AGAIN)
    cause = "; ".join(activity.obstacles())
    if activity.is_connected:
        message = f"the device neither subscribes nor asks for jobs within {seconds:g} s"
        next_step = "a device subscribes to notify-next, and asks for what is pending."
    elif activity.count("connects"):
        message = f"the device is not connected after {seconds:g} s"
        next_step = "see what it was refused, and what it printed last."
    else:
        message = f"the device does not connect within {seconds:g} s"
        next_step = (
            "the device must use IOT_ENDPOINT, IOT_PORT, IOT_CA_FILE, IOT_CERT and IOT_KEY, and "
            "IOT_CLIENT_ID or IOT_THING as its client id."
        )
        cause = cause or _why_no_connect(activity.failed_handshake)
    return activity, SandboxError(message, cause=cause, next_step=next_step)


def _why_no_connect(failure: str) -> str:
    """Why there is no CONNECT, by the failure of the last TLS handshake."""
    if not failure:
        return (
            "no TLS handshake began or none was finished: the device uses another host or port, "
            "or hangs; or it closed the connection before it sent a CONNECT packet"
        )
    for words, meaning in _HANDSHAKES.items():
        if words in failure:
            return f"{meaning} ({failure})"
    return f"the TLS handshake failed: {failure}"


async def _run_line(session: Session, line: Line, scenario: Scenario) -> None:
    """Run a line; a device that has ended, and is not started again later, ends it."""
    commands = [each.text.split()[0] for each in scenario.lines if each.number >= line.number]
    starts_again = next((name for name in commands if name in _POWER), "") == "start-device"
    await watched.run_line(session, line.text, may_end=starts_again)
