#!/usr/bin/env python3
"""A device that carries out AWS IoT Jobs, one at a time. Copy this file and make it your own.

    job_executor.py --run ./handler [--state FILE] [--step-timeout MINUTES]
                    [<endpoint> <certificate> <private key> <thing>]

The executor is always in one of three states. The state file tells it after a power cut in which:

    state      on disk                      after a power cut
    IDLE       nothing                      ask for the next execution
    RUNNING    the execution                run the handler again, with JOB_RESUMED=1
    REPORTING  the execution and outcome    send the outcome again

    IDLE -> RUNNING        AWS IoT has returned an execution.
    RUNNING -> REPORTING   The handler has ended. It does not run again for this execution.
    RUNNING -> IDLE        The execution was canceled or deleted, or has timed out. So the executor
                           has ended the handler and all processes that the handler had started.
    REPORTING -> IDLE      AWS IoT has accepted the outcome, or says that the execution has ended.

The handler is your program. The executor starts it once for each execution:

    standard input    the job document
    standard output   A line that is a JSON object reports progress. The newest one becomes the
                      statusDetails of the execution.
    exit status       0 means SUCCEEDED, 65 (EX_DATAERR) REJECTED, anything else FAILED. Then the
                      statusDetails have the exit status and the end of standard error, too.
    environment       JOB_ID and JOB_EXECUTION_NUMBER. JOB_RESUMED is 1 if the handler was started
                      for this execution before and was cut off, for example because it has
                      restarted the device; otherwise 0.
                      PATH, HOME, USER, LANG, LC_ALL, TZ and TMPDIR are those of the executor. The
                      handler gets nothing else, and so no secret. Pass on more like this:
                      --run "env NAME=value ./handler"

With --step-timeout, a handler that reports no progress for so long is ended, and the execution
FAILED. A process that a handler leaves running is left alone, but can no longer write to the
handler's output.

SIGTERM ends executor and handler, and the next start resumes the execution. SIGKILL ends the
executor alone, and its handler goes on beside the resumed one. To end both, run the executor under
systemd with KillMode=control-group, which is the default, or better with KillMode=mixed: then the
executor gets SIGTERM first and ends the handler itself. Without systemd, on Linux:
--run "setpriv --pdeathsig KILL ./handler"

You need Python 3.11 or later on Linux or macOS, the package awsiotsdk, and a certificate with
policies/device-policy.json attached.

If asyncio is new to you: all code runs on one thread, and only at an `await` can other code run in
between. The SDK calls back on a thread of its own; `_on_loop` moves each call to the one thread.
"""

import argparse
import asyncio
import fcntl
import json
import logging
import math
import os
import random
import re
import shlex
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError
from awsiot import mqtt5_client_builder

# All times are in seconds.

# A request that has no response by then counts as lost.
RESPONSE_TIMEOUT = 5

# The first and the longest pause after a request that was lost or rejected.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

# The same for asking although no event has come: events can be lost.
FIRST_IDLE_PAUSE = 30.0
LONGEST_IDLE_PAUSE = 900.0

# The same for connecting again.
FIRST_RECONNECT_PAUSE = 3.0
LONGEST_RECONNECT_PAUSE = 60.0

# The same for connecting again after another client has taken over the client id.
FIRST_TAKE_OVER_PAUSE = 2.0
LONGEST_TAKE_OVER_PAUSE = 300.0

# A silent connection counts as lost after KEEP_ALIVE + PING_TIMEOUT. AWS IoT accepts a keep-alive
# of 30 to 1,200 seconds.
# https://docs.aws.amazon.com/general/latest/gr/iot-core.html
KEEP_ALIVE = 30
PING_TIMEOUT = 10

# Progress is reported this often at most.
REPORT_EVERY = 1.0

# A handler that gets SIGTERM has this time to end, before it gets SIGKILL.
GRACE = 3.0

# After a handler has ended, its last output has this time to arrive.
LAST_OUTPUT = 1.0

# A line of a handler's output that is longer (in bytes) is not progress.
LONGEST_LINE = 65536

# The variables of the executor's environment that a handler gets.
HANDLER_ENVIRONMENT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR")

# With these codes AWS IoT rejects a request about an execution that has ended.
# https://docs.aws.amazon.com/iot/latest/developerguide/jobs-api.html
ENDED = ("InvalidStateTransition", "TerminalStateReached")

# ResourceNotFound means that the execution was deleted. But AWS IoT may also fail, for a moment, to
# find one that exists. So it counts only when it comes this often.
NOT_FOUND_LIMIT = 3


class RequestError(Exception):
    """A request got no response, or was rejected with `code`."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class ExecutionEndedError(Exception):
    """AWS IoT says that the execution has ended, was deleted, or was replaced by another one."""


class PolicyError(Exception):
    """The policy of the certificate does not allow a subscription."""


@dataclass(frozen=True)
class Execution:
    """One attempt of this thing at one job.

    Two executions are equal if job id, number and time are equal. A retry has another number. A job
    that has the id of a deleted job has another time.
    """

    job_id: str
    number: int
    queued_at: float
    document: Any = field(default=None, compare=False)

    @classmethod
    def from_response(cls, response: dict[str, Any]) -> "Execution | None":
        """Return the execution in a response; None if the response has none."""
        match response.get("execution"):
            case {
                "jobId": str(job_id),
                "executionNumber": int(number),
                "queuedAt": int() | float() as queued_at,
                **others,
            }:
                return cls(job_id, number, float(queued_at), others.get("jobDocument"))
        return None


@dataclass(frozen=True)
class Outcome:
    """How an execution has ended: SUCCEEDED, FAILED or REJECTED, and its statusDetails."""

    status: str
    details: dict[str, str]


class StateFile:
    """The state of the executor on disk. Raises BlockingIOError if another executor uses the file.

    Two executors with one state file would both run the handler for each execution.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            # This stays open, and locked, until the process ends, for whatever reason it does.
            lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            logging.warning("the state file cannot be locked: %s", error)

    def load(self) -> tuple[Execution | None, Outcome | None]:
        """Read the file. A missing or damaged file counts as empty."""
        try:
            with open(self._path, encoding="utf-8") as file:
                saved = json.load(file)
        except FileNotFoundError:
            return None, None
        except (OSError, ValueError, RecursionError) as error:
            saved = error
        match saved:
            case {"job_id": str(job_id), "number": int(number), "queued_at": float(queued_at)}:
                execution = Execution(job_id, number, queued_at)
            case _:
                logging.warning("%s is damaged and counts as empty: %.100r", self._path, saved)
                return None, None
        match saved.get("outcome"):
            case {
                "status": "SUCCEEDED" | "FAILED" | "REJECTED" as status,
                "details": dict(details),
            }:
                return execution, Outcome(status, details)
        return execution, None

    def save(self, execution: Execution, outcome: Outcome | None = None) -> None:
        """Write the file. When this returns, a power cut cannot lose it any more."""
        saved = {
            "job_id": execution.job_id,
            "number": execution.number,
            "queued_at": execution.queued_at,
            "outcome": outcome and {"status": outcome.status, "details": outcome.details},
        }
        new = f"{self._path}.new"
        try:
            # Do not write through a link that someone else may have put here.
            with suppress(FileNotFoundError):
                os.remove(new)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with open(os.open(new, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(saved, file)
                file.flush()
                os.fsync(file.fileno())
            # After a power cut the file is the whole old one or the whole new one.
            os.replace(new, self._path)
            folder = os.open(os.path.dirname(os.path.abspath(new)), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            # Go on: a full disk must not keep the device from the job that would clear it.
            logging.warning(
                "%s cannot be written, so a handler may run again after a power cut: %s",
                self._path,
                error,
            )

    def clear(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            os.remove(self._path)


class JobsClient:
    """The connection to AWS IoT, the events and the requests.

    A request is a message to a topic such as .../jobs/start-next. The response comes from the topic
    .../jobs/start-next/accepted or .../rejected and has the same clientToken as the request.
    https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html

    The SDK has a class for that, IotJobsClientV2. It subscribes and unsubscribes for each request,
    so a request takes up to three round trips. Here it takes one.

    Attributes:
        changed: is set when the pending executions may have changed: by each event, and by each new
            connection, because events may have been lost before.
        announced: is set by each event that names a pending execution.

    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.changed = asyncio.Event()
        self.announced = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._topics = f"$aws/things/{options.thing}/jobs"
        self._step_timeout = options.step_timeout and math.ceil(options.step_timeout)
        # The futures of the requests under way, by clientToken.
        self._responses: dict[str, asyncio.Future[dict[str, Any] | RequestError]] = {}
        # Connections are numbered. Each one needs its own subscriptions.
        self._connection = 0
        self._subscribed_connection = 0
        self._connected = asyncio.Event()
        self._connection_lost = asyncio.Event()
        self._last_take_over = -math.inf
        self._take_over_pauses = pauses(FIRST_TAKE_OVER_PAUSE, LONGEST_TAKE_OVER_PAUSE)
        self._mqtt = mqtt5_client_builder.mtls_from_path(
            endpoint=options.endpoint,
            port=options.port,
            cert_filepath=options.certificate,
            pri_key_filepath=options.key,
            ca_filepath=options.ca_file,
            client_id=options.client_id,
            keep_alive_interval_sec=KEEP_ALIVE,
            ping_timeout_ms=1000 * PING_TIMEOUT,
            ack_timeout_sec=RESPONSE_TIMEOUT,
            # The pauses before connecting again double, and a random part is cut off each, so that
            # not all devices come back at once after an outage. They begin anew when a connection
            # has lasted for 30 seconds.
            # https://docs.aws.amazon.com/iot/latest/developerguide/device-advisor-tests-mqtt.html
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.FULL,
            min_reconnect_delay_ms=int(1000 * FIRST_RECONNECT_PAUSE),
            max_reconnect_delay_ms=int(1000 * LONGEST_RECONNECT_PAUSE),
            # By default the SDK delays each request by about 30 ms, so as never to send more than
            # the 100 a second that AWS IoT allows. This client sends far fewer.
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
            on_lifecycle_connection_success=partial(self._on_loop, self._on_connection),
            on_lifecycle_connection_failure=partial(self._on_loop, self._on_connection_failure),
            on_lifecycle_disconnection=partial(self._on_loop, self._on_disconnection),
            on_publish_received=partial(self._on_loop, self._on_message),
        )

    # The connection

    def connect(self) -> None:
        """Connect, and connect again whenever the connection is lost."""
        self._mqtt.start()

    async def disconnect(self) -> None:
        """Disconnect, and wait until the DISCONNECT message has left."""
        self._mqtt.stop()
        if self._connected.is_set():
            self._connection_lost.clear()
            await wait_for(self._connection_lost, 1.0)

    def _on_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function on the event loop. The SDK calls back on a thread of its own."""
        # RuntimeError: the loop is closed, because the program is about to end.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _on_connection(self, _: Any) -> None:
        self._connection += 1
        self._connected.set()
        self.changed.set()

    def _on_connection_failure(self, failure: Any) -> None:
        refusal = failure.connack_packet and failure.connack_packet.reason_code
        logging.warning("no connection: %s", refusal.name if refusal else failure.exception)

    def _on_disconnection(self, disconnection: Any) -> None:
        """Log the reason. The SDK connects again by itself, except after a takeover."""
        self._connected.clear()
        self._connection_lost.set()
        for response in self._responses.values():
            settle(response, RequestError("the connection was lost"))
        packet = disconnection.disconnect_packet
        reason = packet.reason_code.name if packet and packet.reason_code else None
        if disconnection.exception.name != "AWS_ERROR_MQTT5_USER_REQUESTED_STOP":
            logging.warning("connection lost: %s", reason or disconnection.exception)
        if reason == "SESSION_TAKEN_OVER":
            self._give_way()

    def _give_way(self) -> None:
        """Connect again after a pause that is longer each time.

        AWS IoT ends a connection when another client connects with the same client id. If both
        clients came back at once, they would end each other's connections for ever.
        https://docs.aws.amazon.com/iot/latest/developerguide/security-best-practices.html
        """
        now = self._loop.time()
        # The last takeover is long ago, so this one is not part of a fight.
        if now - self._last_take_over > 2 * LONGEST_TAKE_OVER_PAUSE:
            self._take_over_pauses = pauses(FIRST_TAKE_OVER_PAUSE, LONGEST_TAKE_OVER_PAUSE)
        self._last_take_over = now
        pause = next(self._take_over_pauses)
        logging.warning("another client has the same client id; connecting in %.1f s", pause)
        self._mqtt.stop()
        self._loop.call_later(pause, self._mqtt.start)

    # The messages

    async def _subscribe(self) -> None:
        """Subscribe to events and responses, unless this connection has the subscriptions already.

        notify has an event when the list of pending executions changes, notify-next when another
        execution becomes the next one.
        https://docs.aws.amazon.com/iot/latest/developerguide/jobs-comm-notifications.html

        QoS 0 is enough: TCP loses nothing while a connection lasts, and the device asks after each
        reconnect. QoS 1 would make it acknowledge each message, and each acknowledgement would
        delay the next request by up to 40 ms (Nagle's algorithm).
        """
        connection = self._connection
        if self._subscribed_connection == connection:
            return
        filters = [
            f"{self._topics}/{name}"
            for name in ("notify", "notify-next", "start-next/+", "+/get/+", "+/update/+")
        ]
        packet = mqtt5.SubscribePacket(
            subscriptions=[
                mqtt5.Subscription(topic_filter=topic_filter, qos=mqtt5.QoS.AT_MOST_ONCE)
                for topic_filter in filters
            ]
        )
        # The shield: a task that waits here may be canceled, the SDK's future may not.
        suback = await asyncio.shield(asyncio.wrap_future(self._mqtt.subscribe(packet)))
        for topic_filter, code in zip(filters, suback.reason_codes, strict=True):
            if code == mqtt5.SubackReasonCode.NOT_AUTHORIZED:
                raise PolicyError(f"the policy does not allow iot:Subscribe to {topic_filter}")
            if code is None or code >= mqtt5.SubackReasonCode.UNSPECIFIED_ERROR:
                raise RequestError(f"no subscription to {topic_filter}: {code!r}")
        self._subscribed_connection = connection

    def _on_message(self, received: Any) -> None:
        """Hand a response to the request that waits for it, or note that an event has come."""
        packet = received.publish_packet
        try:
            message = json.loads(packet.payload)
        except (ValueError, RecursionError):
            message = {}
        if not isinstance(message, dict):
            message = {}
        if packet.topic.endswith(("/notify", "/notify-next")):
            # An event may be late, or come twice. So it is only a reason to ask.
            if message.get("jobs") or message.get("execution"):
                self.announced.set()
            self.changed.set()
        elif response := self._responses.get(str(message.get("clientToken"))):
            if packet.topic.endswith("/accepted"):
                settle(response, message)
            else:
                code = str(message.get("code"))
                settle(response, RequestError(f"{code}: {message.get('message')}", code))

    async def _send(self, name: str, **fields: Any) -> dict[str, Any]:
        """Send a request, without fields that have no value, and return the response.

        Raises RequestError.
        """
        token = str(uuid.uuid4())
        body = {key: value for key, value in fields.items() if value} | {"clientToken": token}
        packet = mqtt5.PublishPacket(
            topic=f"{self._topics}/{name}",
            payload=json.dumps(body),
            qos=mqtt5.QoS.AT_LEAST_ONCE,
        )
        response: asyncio.Future[dict[str, Any] | RequestError] = self._loop.create_future()
        self._responses[token] = response
        try:
            published = self._mqtt.publish(packet)
            published.add_done_callback(partial(self._on_loop, self._on_published, token, name))
            async with asyncio.timeout(RESPONSE_TIMEOUT):
                result = await response
        except TimeoutError:
            raise RequestError("no response in time") from None
        finally:
            del self._responses[token]
        if isinstance(result, RequestError):
            raise result
        return result

    def _on_published(self, token: str, name: str, published: Any) -> None:
        """Fail a request that the message broker has not accepted."""
        response = self._responses.get(token)
        if response is None:
            return
        if published.exception():
            settle(response, RequestError(str(published.exception())))
        elif published.result().puback.reason_code == mqtt5.PubackReasonCode.NOT_AUTHORIZED:
            topic = f"{self._topics}/{name}"
            settle(response, RequestError(f"the policy does not allow iot:Publish to {topic}"))

    async def _repeat(
        self, attempt: Callable[[], Awaitable[Any]], name: str, *, can_end: bool = True
    ) -> Any:
        """Repeat an attempt until AWS IoT accepts it.

        Lost responses, throttling and internal errors pass. Each pause is longer than the last; a
        new connection ends it. Raises ExecutionEndedError if AWS IoT says so, and `can_end`.
        """
        not_found = 0
        connection = 0
        while True:
            await self._connected.wait()
            if connection != self._connection:
                connection = self._connection
                waits = pauses(FIRST_PAUSE, LONGEST_PAUSE)
            self._connection_lost.clear()
            try:
                await self._subscribe()
                return await attempt()
            except (RequestError, AwsCrtError) as error:
                code = getattr(error, "code", "")
                if code == "ResourceNotFound":
                    not_found += 1
                if can_end and (code in ENDED or not_found == NOT_FOUND_LIMIT):
                    raise ExecutionEndedError(str(error)) from error
                pause = next(waits)
                logging.warning("%s: %s; again in %.1f s", name, error, pause)
            await wait_for(self._connection_lost, pause)

    # The requests

    async def start_next(self) -> Execution | None:
        """Ask for the next execution, and set it in progress; None if none is pending.

        An execution that is already in progress comes first: the one from before a restart.
        """
        attempt = partial(self._send, "start-next", stepTimeoutInMinutes=self._step_timeout)
        response = await self._repeat(attempt, "the next execution", can_end=False)
        return Execution.from_response(response)

    async def is_in_progress(self, execution: Execution) -> bool:
        """Ask whether the execution is still in progress.

        Without asking, a device does not find out that an execution was canceled or deleted: see
        step 6 of "Get the next job".
        https://docs.aws.amazon.com/iot/latest/developerguide/jobs-workflow-device-online.html
        """
        attempt = partial(self._send, f"{execution.job_id}/get", executionNumber=execution.number)
        try:
            response = await self._repeat(attempt, execution.job_id)
        except ExecutionEndedError:
            return False
        described = Execution.from_response(response)
        return described is None or (
            described == execution and response["execution"].get("status") == "IN_PROGRESS"
        )

    async def report_progress(self, execution: Execution, details: dict[str, str]) -> None:
        """Send statusDetails, and start the step timer anew. Raises ExecutionEndedError.

        https://docs.aws.amazon.com/iot/latest/developerguide/jobs-configurations-details.html
        """
        attempt = partial(self._update, execution, "IN_PROGRESS", details)
        await self._repeat(attempt, execution.job_id)

    async def report_outcome(self, execution: Execution, outcome: Outcome) -> None:
        """Send the outcome until AWS IoT has accepted it. Raises ExecutionEndedError."""

        async def attempt() -> None:
            # An operator may have deleted the job and created another one with its id, which must
            # not get this outcome.
            if self.changed.is_set():
                self.changed.clear()
                if not await self.is_in_progress(execution):
                    raise ExecutionEndedError("it is not in progress")
            await self._update(execution, outcome.status, outcome.details)

        await self._repeat(attempt, execution.job_id)

    async def _update(self, execution: Execution, status: str, details: dict[str, str]) -> None:
        """Set status and statusDetails, or the status alone if AWS IoT refuses the statusDetails.

        There is no expectedVersion: after a lost response the device would not know the version,
        and nobody else updates the execution.
        """
        update = partial(
            self._send,
            f"{execution.job_id}/update",
            executionNumber=execution.number,
            status=status,
            stepTimeoutInMinutes=self._step_timeout if status == "IN_PROGRESS" else None,
        )
        try:
            await update(statusDetails=details)
        except RequestError as error:
            if error.code != "InvalidRequest" or not details:
                raise
            await update()


class Handler(asyncio.SubprocessProtocol):
    """One run of the handler, in a session of its own, so that all its processes can be ended.

    asyncio calls the last three methods. Its simpler interface, create_subprocess_exec, would wait
    for all processes that keep the handler's output open, also for those that the handler has left
    running.

    Attributes:
        details: the newest progress, as statusDetails.
        progressed: is set when there is progress.

    """

    def __init__(
        self, command: list[str], execution: Execution, minutes: float | None, *, resumed: bool
    ) -> None:
        self.details: dict[str, str] = {}
        self.progressed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._command = command
        self._environment = {
            name: os.environ[name] for name in HANDLER_ENVIRONMENT if name in os.environ
        } | {
            "JOB_ID": execution.job_id,
            "JOB_EXECUTION_NUMBER": str(execution.number),
            "JOB_RESUMED": str(int(resumed)),
        }
        self._longest_silence = 60 * minutes if minutes else math.inf
        self._last_progress = self._loop.time()
        self._unfinished_line = b""
        self._errors = b""
        self._exited = False
        self._output_closed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()

    def stop(self) -> None:
        """End the handler, if it has not ended by itself."""
        self._stopping.set()
        self._woken.set()

    async def run(self, document: Any) -> Outcome | None:
        """Start the handler and wait for its end; None if `stop` has cut it off.

        Do not cancel this: asyncio cannot cancel the start of a process safely.
        """
        try:
            process, _ = await self._loop.subprocess_exec(
                lambda: self, *self._command, env=self._environment, start_new_session=True
            )
        except (OSError, ValueError) as error:
            reason = f"the handler cannot be started: {error}"
            return Outcome("FAILED", status_details({"reason": reason}))
        # asyncio writes as fast as the handler reads, and then closes the pipe.
        stdin: Any = process.get_pipe_transport(0)
        stdin.write(json.dumps(document).encode())
        stdin.close()
        reason = ""
        cut_off = False
        while not self._exited:
            left = self._last_progress + self._longest_silence - self._loop.time()
            if self._stopping.is_set():
                cut_off = True
                await self._end(process.get_pid())
            elif left <= 0:
                reason = f"no progress for {self._longest_silence / 60:g} minutes"
                await self._end(process.get_pid())
            else:
                self._woken.clear()
                await wait_for(self._woken, left)
        await wait_for(self._output_closed, LAST_OUTPUT)
        code = process.get_returncode() or 0
        process.close()
        # systemd may send SIGTERM to executor and handler at the same time. So if the handler has
        # died of it, see whether the executor is about to end, too. A shell exits with 128 + 15
        # when SIGTERM has ended its command.
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM) and not reason:
            await wait_for(self._stopping, LAST_OUTPUT)
            cut_off = self._stopping.is_set()
        return None if cut_off else self._outcome(code, reason)

    async def _end(self, group: int) -> None:
        """End all processes of the handler: by SIGTERM, and those that are left by SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            # These errors say that no process is left.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
            # The last process that ends closes the output.
            await wait_for(self._output_closed, GRACE)

    def _outcome(self, code: int, reason: str) -> Outcome:
        """Translate the exit status into a status of AWS IoT.

        https://docs.aws.amazon.com/iot/latest/developerguide/iot-jobs-lifecycle.html
        """
        # End the last line, if the handler has not done so.
        self.pipe_data_received(1, b"\n")
        if code == 0 and not reason:
            return Outcome("SUCCEEDED", self.details)
        why = {
            "reason": reason,
            "exitStatus": str(code) if code >= 0 else f"signal {-code}",
            "stderr": self._errors.decode(errors="replace").strip()[-1024:],
        }
        status = "REJECTED" if code == os.EX_DATAERR and not reason else "FAILED"
        return Outcome(status, status_details(why | self.details))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Keep the end of standard error, and the newest progress from standard output."""
        if fd == 2:
            self._errors = (self._errors + data)[-4096:]
            return
        *lines, unfinished = (self._unfinished_line + data).split(b"\n")
        self._unfinished_line = unfinished[-LONGEST_LINE:]
        for line in reversed(lines):
            if self._take_progress(line):
                return

    def _take_progress(self, line: bytes) -> bool:
        """Take over the progress that a line reports; False if it reports none."""
        if not line.lstrip().startswith(b"{"):
            return False
        try:
            self.details = status_details(json.loads(line))
        except (ValueError, RecursionError):
            return False
        self._last_progress = self._loop.time()
        self.progressed.set()
        return True

    def process_exited(self) -> None:
        """Note that the handler has ended. Other processes may still use its output."""
        self._exited = True
        self._woken.set()

    def connection_lost(self, _: Exception | None) -> None:
        """Note that the handler has ended and that its output is closed."""
        self._output_closed.set()


class Executor:
    """Carries out one execution after the other. The head of this file has its states."""

    def __init__(
        self,
        client: JobsClient,
        state_file: StateFile,
        command: list[str],
        minutes: float | None,
    ) -> None:
        self._client = client
        self._state_file = state_file
        self._command = command
        self._minutes = minutes

    async def run(self) -> None:
        """Go from state to state, until canceled."""
        interrupted, outcome = self._state_file.load()
        if interrupted and outcome:
            await self._report(interrupted, outcome)
            interrupted = None
        while True:
            execution = await self._next_execution()
            self._state_file.save(execution)
            outcome = await self._carry_out(execution, resumed=execution == interrupted)
            if outcome:
                await self._report(execution, outcome)
            else:
                self._state_file.clear()
            interrupted = None

    async def _next_execution(self) -> Execution:
        """IDLE: ask for the next execution until there is one.

        Ask after each event. An event may come before its execution can be read, so ask again soon
        after an event that has named one. And ask now and then without an event: "there might be a
        delay between the time the message broker sends a SUBACK and the time the client starts
        receiving new matching messages".
        https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html

        (Nothing here reads the executions that an event lists: it lists ten at most.
        https://docs.aws.amazon.com/iot/latest/developerguide/job-limits.html)
        """
        idle_pauses = pauses(FIRST_IDLE_PAUSE, LONGEST_IDLE_PAUSE)
        self._client.announced.clear()
        while True:
            self._client.changed.clear()
            execution = await self._client.start_next()
            if execution:
                return execution
            if self._client.announced.is_set():
                self._client.announced.clear()
                idle_pauses = pauses(FIRST_PAUSE, LONGEST_IDLE_PAUSE)
            await wait_for(self._client.changed, next(idle_pauses))

    async def _carry_out(self, execution: Execution, *, resumed: bool) -> Outcome | None:
        """RUNNING: run the handler to its end; None if the execution ends before."""
        logging.info("%s: %s", execution.job_id, "resumed" if resumed else "started")
        handler = Handler(self._command, execution, self._minutes, resumed=resumed)
        if resumed:
            # Report at once, without progress: that starts the step timer anew.
            handler.progressed.set()
        work = asyncio.create_task(handler.run(execution.document))
        # Each of these ends when it finds out that the execution has ended.
        others = [
            asyncio.create_task(self._watch(execution)),
            asyncio.create_task(self._report_progress(execution, handler)),
        ]
        try:
            await asyncio.wait([work, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # SIGTERM leads here, too. An outcome is saved before anything else happens.
            handler.stop()
            await asyncio.wait([work])
            if outcome := work.result():
                self._state_file.save(execution, outcome)
            for task in others:
                task.cancel()
            await asyncio.wait(others)
        for task in others:
            if not task.cancelled():
                task.result()
        if not outcome:
            logging.warning(
                "%s: the handler was ended: the execution was canceled or deleted, or timed out",
                execution.job_id,
            )
        return outcome

    async def _watch(self, execution: Execution) -> None:
        """Return when the execution is no longer in progress."""
        for pause in pauses(FIRST_IDLE_PAUSE, LONGEST_IDLE_PAUSE):
            await wait_for(self._client.changed, pause)
            self._client.changed.clear()
            if not await self._client.is_in_progress(execution):
                return

    async def _report_progress(self, execution: Execution, handler: Handler) -> None:
        """Report the newest progress, now and then. Return when the execution has ended."""
        with suppress(ExecutionEndedError):
            while True:
                await handler.progressed.wait()
                await asyncio.sleep(REPORT_EVERY)
                handler.progressed.clear()
                await self._client.report_progress(execution, handler.details)

    async def _report(self, execution: Execution, outcome: Outcome) -> None:
        """REPORTING: send the outcome until AWS IoT accepts it or says that it comes too late."""
        try:
            await self._client.report_outcome(execution, outcome)
        except ExecutionEndedError as error:
            logging.warning(
                "%s: %s, but the execution has ended: %s", execution.job_id, outcome.status, error
            )
        else:
            logging.info("%s: %s", execution.job_id, outcome.status)
        self._state_file.clear()


def pauses(first: float, longest: float) -> Iterator[float]:
    """Pauses that double up to the longest one. Each is lengthened at random, by half at most.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    while True:
        yield first * random.uniform(1.0, 1.5)
        first = min(2 * first, longest)


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, or until the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def settle(future: asyncio.Future[Any], result: Any) -> None:
    """Set the result of a future, unless it has one already or was canceled."""
    if not future.done():
        future.set_result(result)


def status_details(details: dict[str, Any]) -> dict[str, str]:
    """Keep what AWS IoT accepts: 10 pairs, with values of 1 to 1,024 printable characters.

    https://docs.aws.amazon.com/iot/latest/apireference/API_iot-jobs-data_UpdateJobExecution.html
    """
    kept: dict[str, str] = {}
    for name, value in details.items():
        text = value if isinstance(value, str) else json.dumps(value)
        text = "".join(c if c.isprintable() else " " for c in text[:1024])
        if re.fullmatch("[a-zA-Z0-9:_-]{1,128}", name) and text.strip() and len(kept) < 10:
            kept[name] = text
    return kept


def split_command(text: str) -> list[str]:
    """Split a command as a shell does."""
    with suppress(ValueError):
        if words := shlex.split(text):
            return words
    raise argparse.ArgumentTypeError(f"{text!r} is not a command")


def read_minutes(text: str) -> float:
    """Read a step timeout. AWS IoT accepts up to 10,080 minutes, which are 7 days."""
    with suppress(ValueError):
        if 0 < float(text) <= 10080:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 10080")


def parse_arguments() -> argparse.Namespace:
    """Read the command line, and the environment variables that `jobs-sandbox --device` sets."""
    environment = os.environ.get
    parser = argparse.ArgumentParser(
        description="Carries out AWS IoT Jobs, one at a time. The head of the file has more."
    )
    parser.add_argument(
        "--run", type=split_command, required=True, metavar="HANDLER", help="your program"
    )
    parser.add_argument(
        "--state", default="job_executor.state", metavar="FILE", help="keeps the execution at hand"
    )
    parser.add_argument(
        "--step-timeout",
        type=read_minutes,
        metavar="MINUTES",
        help="end a handler that makes no progress for so long",
    )
    parser.add_argument(
        "--port", type=int, default=environment("IOT_PORT", "8883"), help="or IOT_PORT"
    )
    parser.add_argument("--ca-file", default=environment("IOT_CA_FILE"), help="or IOT_CA_FILE")
    parser.add_argument(
        "--client-id",
        default=environment("IOT_CLIENT_ID"),
        help="or IOT_CLIENT_ID; by default the name of the thing",
    )
    for name, variable in (
        ("endpoint", "IOT_ENDPOINT"),
        ("certificate", "IOT_CERT"),
        ("key", "IOT_KEY"),
        ("thing", "IOT_THING"),
    ):
        known = environment(variable)
        parser.add_argument(
            name, nargs="?" if known else None, default=known, help=f"or {variable}"
        )
    options = parser.parse_args()
    options.client_id = options.client_id or options.thing
    return options


async def main(options: argparse.Namespace) -> str | None:
    """Run until SIGTERM or Ctrl-C. The result is the error that has ended the executor, or None."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        state_file = StateFile(options.state)
    except BlockingIOError:
        return f"another job executor uses {options.state}"
    try:
        client = JobsClient(options)
    except Exception as error:
        return f"the certificate, the key or the CA file cannot be used: {error}"
    executor = Executor(client, state_file, options.run, options.step_timeout)
    running = asyncio.create_task(executor.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, cancel_once, running)
    client.connect()
    try:
        await running
    except asyncio.CancelledError:
        return None
    except PolicyError as error:
        return str(error)
    finally:
        await client.disconnect()
    return None


def cancel_once(task: asyncio.Task[None]) -> None:
    """Cancel a task. A second signal must not disturb its cleaning up."""
    if not task.cancelling():
        task.cancel()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(parse_arguments())))
