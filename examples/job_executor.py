#!/usr/bin/env python3
"""A device that carries out AWS IoT Jobs, one at a time, with a program of yours. Copy it, and make it your own.

    job_executor.py --run ./handler [--state FILE] [--step-timeout MINUTES] [<endpoint> <cert> <key> <thing>]

The handler gets the job document on its standard input, and JOB_ID, JOB_EXECUTION_NUMBER and JOB_RESUMED (1 if it was
started for this execution before, else 0) in its environment. A JSON object on a line of its standard output becomes
the statusDetails. Exit status 0 means SUCCEEDED, 65 (EX_DATAERR) REJECTED, any other one FAILED, with it and the end of
standard error in the statusDetails. SIGTERM ends it, and leaves the execution in progress for the next start. Killed at
any moment, it loses nothing: a handler that had ended is not run again, one that was killed with it is.

It needs awsiotsdk, Python 3.11 on Linux or macOS, and policies/device-policy.json attached to the certificate. It does
what AWS asks of a device: https://docs.aws.amazon.com/iot/latest/developerguide/jobs-workflow-device-online.html
"""

import argparse
import asyncio
import json
import logging
import math
import os
import random
import re
import shlex
import signal
import socket
import sys
from contextlib import suppress
from subprocess import PIPE, Popen
from typing import Any, cast

from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions, SubscriptionStatusEventType
from awsiot import ServiceStreamOptions, V2ServiceException, iotjobs, mqtt5_client_builder

ANSWER_TIMEOUT = 5  # seconds until a request without an answer counts as lost
FIRST_PAUSE, LONGEST_PAUSE = (
    1.0,
    60.0,
)  # seconds between two attempts; each pause is twice the one before
REPORT_EVERY = (
    1.0  # seconds between two reports while a handler runs; the newest line of progress wins
)
GRACE = 3.0  # seconds that a handler has to end after SIGTERM
LIMIT = 65536  # bytes; a longer line is no progress, and no more of stderr is kept
CONNECTION = {
    "keep_alive_interval_sec": 30,
    "min_reconnect_delay_ms": 500,
    "max_reconnect_delay_ms": 30_000,
}
OVER = {
    "InvalidStateTransition",
    "TerminalStateReached",
    "ResourceNotFound",
}  # canceled, timed out, deleted
# This shell leads the process group of a handler, and kills it when the executor is gone, unless it was killed before.
GUARD = 'trap "" HUP INT QUIT ALRM TERM USR1 USR2; read -r line; kill -s KILL -- "-$$"'


class Handler(asyncio.SubprocessProtocol):
    """A handler at work, in a process group of its own, which a guard leads."""

    def __init__(self, limit: float, news: asyncio.Event) -> None:
        self.loop, self.limit, self.news = asyncio.get_running_loop(), limit, news
        self.deadline = self.loop.time() + limit  # until the next line of progress
        self.details: dict[str, str] = {}  # of its last line of progress
        self.reason: dict[str, str] = {}  # why it was ended
        self.line = self.stderr = b""
        self.exited, self.closed = self.loop.create_future(), self.loop.create_future()
        self.transport: Any = None
        self.guard = Popen(["/bin/sh", "-c", GUARD], stdin=PIPE, process_group=0)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.stderr = (self.stderr + data)[-LIMIT:]
            return
        lines, _, self.line = (self.line[-LIMIT:] + data).rpartition(b"\n")
        for line in reversed(re.findall(rb"^[ \t]*{.*", lines, re.MULTILINE)):  # the newest counts
            with suppress(ValueError, AttributeError, RecursionError):  # not a JSON object
                self.details = status_details(json.loads(line))
                self.deadline = self.loop.time() + self.limit
                self.news.set()
                break

    def process_exited(self) -> None:
        self.exited.set_result(None)

    def connection_lost(self, _: Any) -> None:
        self.closed.set_result(None)

    async def end(self) -> None:
        """End it and all that it has started: SIGTERM, and SIGKILL for what is still there."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, PermissionError):  # nothing is
                os.killpg(self.guard.pid, number)
            await asyncio.wait([self.exited], timeout=GRACE)

    async def outcome(self) -> list[Any]:
        """Status and statusDetails, as its end tells them."""
        await asyncio.wait(
            [self.closed], timeout=1.0
        )  # its last words; what it left running may hold the pipes
        self.pipe_data_received(1, b"\n")
        code, self.news = (
            self.transport.get_returncode(),
            asyncio.Event(),
        )  # what it left running brings no news
        status = {0: "SUCCEEDED", os.EX_DATAERR: "REJECTED"}.get(
            -1 if self.reason else code, "FAILED"
        )
        why = self.reason | {"exitStatus": str(code) if code >= 0 else f"signal {-code}"}
        why["stderr"] = self.stderr.decode(errors="replace").strip()[-1024:]
        return [
            status,
            self.details if status == "SUCCEEDED" else status_details(why | self.details),
        ]


class Executor:
    """Carries out one execution after the other. All is done by one loop; what the SDK calls back only wakes it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.execution = self.outcome = cast(
            Any, None
        )  # the identity of the one at hand; status and details
        with suppress(OSError, ValueError, TypeError, RecursionError), open(options.state) as file:
            self.execution, self.outcome = json.load(file)
        self.certain = 0.0  # until when the service means the same execution for sure, and no later one of the same id
        self.news = asyncio.Event()  # what is pending may have changed since the service was asked
        self.listening = asyncio.Event()  # both streams are subscribed, again after each reconnect
        self.subscribed, self.pause = 0, FIRST_PAUSE
        self.loop, self.task = (
            asyncio.get_running_loop(),
            cast(asyncio.Task[Any], asyncio.current_task()),
        )
        self.busy: Any = asyncio.ensure_future(
            asyncio.sleep(0)
        )  # done, unless a handler starts or has ended

    async def run(self) -> None:
        """Listen first, then ask, so that nothing falls between; and ask until nothing is left, as a list shows ten."""
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self.options.thing)
        request.step_timeout_in_minutes = self.options.minutes
        await self.listening.wait()
        while True:
            try:
                if self.outcome:
                    await self.deliver()
                self.news.clear()
                execution = (
                    await answer(self.jobs.start_next_pending_job_execution(request))
                ).execution
                if execution and execution.job_id:
                    await self.carry_out(execution)
                else:
                    self.pause = FIRST_PAUSE
                    await self.news.wait()
            except V2ServiceException as error:
                code = getattr(error.modeled_error, "code", None)
                if code in OVER:
                    self.execution = self.outcome = None
                elif code == "InvalidRequest" and self.outcome:
                    self.outcome[1] = None  # how a job ended counts for more than what it said
                await self.take_a_pause(error.modeled_error or error.inner_error)

    async def carry_out(self, execution: Any) -> None:
        """Run the handler until it ends, or the execution does. Its outcome is on the disk before it is sent."""
        key, job_id, number = identity(execution), execution.job_id, str(execution.execution_number)
        resumed = self.execution == key
        self.keep(key)
        self.certain, self.pause = self.loop.time() + 0.1, FIRST_PAUSE
        logging.info("%s: %s", job_id, "resumed" if resumed else "started")
        job = {"JOB_ID": job_id, "JOB_EXECUTION_NUMBER": number, "JOB_RESUMED": str(int(resumed))}
        try:
            handler = Handler(60 * self.options.step_timeout, self.news)
            with handler.guard:
                how: dict[str, Any] = {"env": os.environ | job, "process_group": handler.guard.pid}
                self.busy = asyncio.ensure_future(
                    self.loop.subprocess_exec(lambda: handler, *self.options.run, **how)
                )
                handler.transport, _ = await self.busy
                stdin = handler.transport.get_pipe_transport(0)
                stdin.write(json.dumps(execution.job_document).encode())
                stdin.close()  # once all is written
                await self.attend(handler, None if resumed else handler.details)
        except (OSError, ValueError) as error:
            self.keep(
                key,
                ["FAILED", status_details({"reason": f"the handler cannot be started: {error}"})],
            )

    async def attend(self, handler: Handler, reported: Any) -> None:
        """Wait until the handler has ended, or end it when its time or its execution is over; keep the outcome."""
        over = asyncio.create_task(self.watch(handler, reported))
        try:
            while not (handler.exited.done() or over.done()):
                if (left := handler.deadline - self.loop.time()) <= 0:
                    handler.reason = {
                        "reason": f"no progress for {self.options.step_timeout:g} minutes"
                    }
                    await handler.end()
                await asyncio.wait(
                    [handler.exited, over], timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
        finally:  # SIGTERM leads here too
            over.cancel()
            if handler.exited.done():
                self.busy = asyncio.ensure_future(handler.outcome())
                self.keep(self.execution, await self.busy)
            else:
                await handler.end()
            handler.guard.kill()  # not its group: what is left running may go on
        if not self.outcome:
            over.result()  # raises what was no answer of the service
            logging.warning(
                "%s was canceled, deleted or timed out: its handler is ended",
                self.execution[0]["job_id"],
            )
            self.execution = None

    async def watch(self, handler: Handler, reported: Any) -> None:
        """Report progress, and after news see that the execution is still there; returns when it is not."""
        if reported is None:
            self.news.set()  # a report starts the service's timer anew
        while True:
            await self.news.wait()
            self.news.clear()
            try:
                if not await self.is_ours():
                    return
                if (details := handler.details) is not reported:
                    await self.update("IN_PROGRESS", details)
                    reported = details
                await asyncio.sleep(REPORT_EVERY)
            except V2ServiceException as error:
                if getattr(error.modeled_error, "code", None) in OVER:
                    return
                await self.take_a_pause(error.modeled_error or error.inner_error)
                self.news.set()

    async def deliver(self) -> None:
        """Send the outcome; unless that was told just now, ask whether the service still means the same execution."""
        if sent := self.loop.time() < self.certain or await self.is_ours():
            await self.update(*self.outcome)
        logging.info(
            "%s: %s%s",
            self.execution[0]["job_id"],
            self.outcome[0],
            "" if sent else ", but it is gone",
        )
        self.execution = self.outcome = None
        with suppress(OSError):
            os.remove(self.options.state)

    async def update(self, status: str, details: Any) -> None:
        """Set the status of the execution at hand. No expectedVersion: one lost answer, and all updates would fail."""
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self.options.thing, **self.execution[0], status=status
        )
        request.status_details = details or None
        request.step_timeout_in_minutes = self.options.minutes if status == "IN_PROGRESS" else None
        await answer(self.jobs.update_job_execution(request))

    async def is_ours(self) -> bool:
        """Whether the execution at hand is in progress, and no other one by the same id."""
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self.options.thing, **self.execution[0]
        )
        execution = (await answer(self.jobs.describe_job_execution(request))).execution
        return not execution or bool(
            execution.status == "IN_PROGRESS" and identity(execution) == self.execution
        )

    async def take_a_pause(self, why: Any) -> None:
        """Wait before the next attempt, longer each time; or until the connection is back."""
        logging.warning("a pause: %s", why)
        self.listening.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.listening.wait(), self.pause * random.uniform(0.5, 1.0))
        self.pause = min(self.pause * 2, LONGEST_PAUSE)

    def keep(self, execution: Any, outcome: Any = None) -> None:
        """On the disk, before anything else happens: a new file, flushed, takes the place of the old one."""
        self.execution, self.outcome = execution, outcome
        new = f"{self.options.state}.new"
        try:
            with open(new, "w") as file:
                json.dump([execution, outcome], file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, self.options.state)
            folder = os.open(os.path.dirname(os.path.abspath(new)), os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except (
            OSError
        ) as error:  # a full disk must not keep a device from the job that would clear it
            logging.warning(
                "%s cannot be written; a handler may run again after a power cut: %s", new, error
            )

    def stop(self, *why: str) -> None:
        """End `run`; not while a handler starts, as asyncio might wait for ever, nor before its outcome is kept."""
        self.busy.add_done_callback(lambda _: self.task.cancelling() or self.task.cancel(*why))

    def connect(self) -> None:
        """Start the client, which connects as often as it has to, and open both streams."""
        options, hand = (
            self.options,
            self.loop.call_soon_threadsafe,
        )  # the SDK's callbacks hand all to the loop
        try:
            self.client = mqtt5_client_builder.mtls_from_path(
                **options.connection,
                # Else the SDK paces requests, to keep to AWS IoT's 100 a second: each costs 25 to 33 ms then.
                extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
                on_lifecycle_connection_success=lambda _: hand(
                    send_at_once, options.connection["port"]
                ),
                on_lifecycle_connection_failure=lambda it: hand(
                    logging.warning, "no connection yet: %s", it.exception
                ),
                on_lifecycle_disconnection=lambda it: hand(
                    logging.warning, "connection lost: %s", it.exception
                ),
            )
        except Exception as error:
            sys.exit(f"the certificate, the key or the CA file cannot be used: {error}")
        self.client.start()
        self.jobs = iotjobs.IotJobsClientV2(self.client, ClientOptions(4, 2, ANSWER_TIMEOUT))
        on_event, on_status = (
            lambda _: hand(self.news.set),
            lambda status: hand(self.on_subscription, status),
        )
        listeners = ServiceStreamOptions(
            on_event, on_status, on_event
        )  # what an event says may be old: so ask
        changed = iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=options.thing)
        next_changed = iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=options.thing)
        self.streams = [  # a stream that nobody refers to is collected, and goes silent
            self.jobs.create_job_executions_changed_stream(changed, listeners),
            self.jobs.create_next_job_execution_changed_stream(next_changed, listeners),
        ]
        for stream in self.streams:
            stream.open()

    def on_subscription(self, status: Any) -> None:
        """When both streams are subscribed, it is time to ask; after each reconnect again."""
        if status.type == SubscriptionStatusEventType.SUBSCRIPTION_HALTED:
            self.stop(
                f"a policy has to allow iot:Subscribe on jobs/notify and jobs/notify-next ({status.error!r})"
            )
        self.subscribed += (
            1 if status.type == SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED else -1
        )
        if self.subscribed == len(self.streams):
            self.listening.set()
            self.news.set()


async def answer(future: Any) -> Any:
    """The answer to a request; raises V2ServiceException. Who waits may be cancelled, but the SDK's future may not."""
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(
        asyncio.Future.exception
    )  # asked for, or asyncio would warn of one that nobody waits for
    return await asyncio.shield(waiting)


def send_at_once(port: int) -> None:
    """Switch Nagle's algorithm off, as the SDK cannot: it holds back what follows a PUBACK, for 40 ms or more."""
    for descriptor in os.listdir("/dev/fd"):
        with (
            suppress(OSError),
            socket.fromfd(int(descriptor), socket.AF_INET, socket.SOCK_STREAM) as connection,
        ):
            if connection.getpeername()[1:2] == (port,):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def identity(execution: Any) -> list[Any]:
    """Tells executions apart: job id, number, and time, as an id can be used again after DeleteJob."""
    key = {"job_id": execution.job_id, "execution_number": execution.execution_number}
    return [key, execution.queued_at and execution.queued_at.timestamp()]


def status_details(details: dict[str, Any]) -> dict[str, str]:
    """Cut to what AWS takes: 10 pairs, names of 128 characters, values of 1 to 1,024 without control characters."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in details.items()
    }
    texts = {
        name: "".join(c if c.isprintable() else " " for c in text[:1024])
        for name, text in texts.items()
    }
    fit = [
        (n, text)
        for n, text in texts.items()
        if text.strip() and re.fullmatch("[a-zA-Z0-9:_-]{1,128}", n)
    ]
    return dict(fit[:10])


def parse() -> argparse.Namespace:
    """The command line, and what it leaves to the environment."""
    env = os.environ.get
    parser = argparse.ArgumentParser(
        description="Carries out AWS IoT Jobs: see the head of this file."
    )
    parser.add_argument(
        "--run", type=shlex.split, required=True, metavar="HANDLER", help="the program for each job"
    )
    parser.add_argument(
        "--state", default="job_executor.state", metavar="FILE", help="keeps the execution at hand"
    )
    parser.add_argument(
        "--step-timeout", type=float, default=math.inf, metavar="MINUTES", help="without progress"
    )
    for name in ("endpoint", "cert", "key", "thing"):
        known = env(f"IOT_{name.upper()}")
        parser.add_argument(
            name, nargs="?" if known else None, default=known, help=f"or IOT_{name.upper()}"
        )
    options = parser.parse_args()
    options.minutes = None if options.step_timeout == math.inf else math.ceil(options.step_timeout)
    options.connection = CONNECTION | {
        "endpoint": options.endpoint,
        "port": int(env("IOT_PORT", "8883")),
    }
    options.connection |= {"cert_filepath": options.cert, "pri_key_filepath": options.key}
    options.connection |= {
        "ca_filepath": env("IOT_CA_FILE"),
        "client_id": env("IOT_CLIENT_ID", options.thing),
    }
    return options


async def main() -> None:
    """Run until a signal comes: it cancels `run`, which cleans up."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    executor = Executor(parse())
    for number in (signal.SIGTERM, signal.SIGINT):
        executor.loop.add_signal_handler(number, executor.stop)
    executor.connect()
    try:
        await executor.run()
    except asyncio.CancelledError as error:
        sys.exit(*error.args)
    finally:
        executor.client.stop()
        await asyncio.sleep(0.1)  # for the DISCONNECT to leave


if __name__ == "__main__":
    asyncio.run(main())
