"""Where MiniStack does otherwise than AWS documents, and a small change in its process can make it do the same.

Each correction stands alone, and replaces functions of the one version of MiniStack that it was written for. What
cannot be corrected so is listed in docs/fidelity.md. Runs in MiniStack's process, in its event loop.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from unicodedata import category

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import iot, iot_jobs_data

MINISTACK = "1.5.33"
"""The version that the corrections fit, and that the local extra pins."""

LISTED = 10  # executions
QUEUED_AFTER = 0.2  # seconds after CreateJob's answer
LOOK_EVERY = 1.0  # seconds
LONGEST_STEP = 10080  # minutes
DETAILS, LONGEST_DETAIL = 10, 1024  # pairs, characters

_tasks: set[asyncio.Task[None]] = set()


def apply() -> list[str]:
    """Apply all corrections, or none if another MiniStack is installed: then the warning to give."""
    installed = version("ministack")
    if installed != MINISTACK:
        differs = (
            "it is not corrected where it differs from AWS IoT (docs/fidelity.md lists where)."
        )
        return [f"MiniStack {installed} is installed, not {MINISTACK}: {differs}"]
    for correct in CORRECTIONS:
        correct()
    return []


def in_progress_comes_first() -> None:
    """Order pending executions by status, then by age; MiniStack knows age alone.

    "Any job executions with status IN_PROGRESS are returned first. Job executions are returned in the order in which
    they were created." (jobs-mqtt-api, StartNextPendingJobExecution); "sorted by status (IN_PROGRESS job executions
    before QUEUED job executions) and then by the times when they were queued" (jobs-comm-notifications).
    """
    pending = iot.jobs_pending_for_thing

    def ordered(thing: str) -> list[dict[str, Any]]:
        return sorted(pending(thing), key=lambda execution: execution["status"] != "IN_PROGRESS")

    iot.jobs_pending_for_thing = ordered


def ten_are_listed() -> None:
    """List 10 pending executions at most; MiniStack lists all.

    "List Notification (…) Without Optional Scheduling Configuration and Recurring Maintenance Window (Up to 10 job
    executions)" (jobs-comm-notifications; the same for GetPendingJobExecutions in job-limits).
    """
    pending = iot.jobs_pending_for_thing
    iot.jobs_pending_for_thing = lambda thing: pending(thing)[:LISTED]


def a_later_one_becomes_the_next() -> None:
    """Send notify-next when an update makes another execution the next one; MiniStack sends none.

    "The status of an existing job execution that wasn't the first one in the list changes from QUEUED to IN_PROGRESS,
    and becomes the first one in the list." (jobs-comm-notifications, NextNotification)
    """
    over_mqtt, over_http = iot._handle_jobs_publish, iot_jobs_data._update_execution

    async def handle_mqtt(account: str, region: str, thing: str, verb: str, *request: Any) -> None:
        before = _next(account, region, thing) if verb == "update" else {}
        await over_mqtt(account, region, thing, verb, *request)
        if verb == "update":
            await _notify_next(account, region, thing, request[0], before)

    async def handle_http(thing: str, job_id: str, payload: Any) -> Any:
        account, region = get_account_id(), get_region()
        before = _next(account, region, thing)
        answer = await over_http(thing, job_id, payload)
        await _notify_next(account, region, thing, job_id, before)
        return answer

    iot._handle_jobs_publish, iot_jobs_data._update_execution = handle_mqtt, handle_http


def _next(account: str, region: str, thing: str) -> dict[str, Any]:
    """A thing's next execution, or an empty one."""
    with request_scope(account, region):
        return iot.jobs_start_next_execution(thing, peek=True) or {}


async def _notify_next(
    account: str, region: str, thing: str, job_id: str, before: dict[str, Any]
) -> None:
    """Tell that the execution of the job has become the next, if it has; if another has, MiniStack itself tells."""
    execution = _next(account, region, thing)
    if not before or before["jobId"] == job_id or execution.get("jobId") != job_id:
        return
    with request_scope(account, region):
        view = iot._jobs_mqtt_execution(execution, iot._jobs_job_document_object(job_id))
    message = iot._jobs_mqtt_json({"timestamp": int(time.time()), "execution": view}).encode()
    await iot.broker_publish(
        account, region, f"$aws/things/{thing}/jobs/notify-next", message, qos=1
    )


def create_job_answers_first() -> None:
    """Queue a new job's executions, and send their events, a moment after CreateJob's answer; MiniStack does before.

    AWS rolls a job out asynchronously: "processingTargets: the target devices to which the job execution is being
    rolled out" (API reference, JobProcessDetails); in its own transcripts the events come some 1 s later.
    """
    materialize, create = iot._jobs_materialize_executions, iot._create_job
    creating: ContextVar[str] = ContextVar("creating", default="")

    def materialize_if_due(job_id: str) -> None:
        if creating.get() == job_id:
            iot._jobs[job_id]["unqueued"] = True
        elif not iot._jobs.get(job_id, {}).get("unqueued"):
            materialize(job_id)

    async def create_job(job_id: str, payload: dict[str, Any]) -> Any:
        token = creating.set(job_id)
        try:
            answer = await create(job_id, payload)
        finally:
            creating.reset(token)
        if answer[0] == HTTPStatus.OK:
            _keep(_queue_later(get_account_id(), get_region(), iot._jobs[job_id]))
        return answer

    iot._jobs_materialize_executions, iot._create_job = materialize_if_due, create_job


async def _queue_later(account: str, region: str, job: dict[str, Any]) -> None:
    await asyncio.sleep(QUEUED_AFTER)
    job_id = job["jobId"]
    async with iot.publishing_events():
        with request_scope(account, region):
            if iot._jobs.get(job_id) is not job:  # deleted meanwhile
                return
            before = {
                thing: iot.jobs_first_pending_job_id(thing)
                for thing in iot._job_target_things(job["targets"])
            }
            del job["unqueued"]
            iot._jobs_materialize_executions(job_id)
            queued = [thing for thing in before if (thing, job_id) in iot._job_executions]
        for thing in queued:
            await iot.jobs_notify_thing(account, region, thing, before[thing])


def a_certificate_is_required() -> None:
    """Refuse an MQTT client without a certificate; MiniStack lets it in, and no policy applies to it.

    "MQTT … 8883 … Authentication: X.509 client certificate" (protocols, "Protocols, port mappings, and
    authentication").
    """
    build = iot._mtls_build_ssl_context

    def requiring() -> ssl.SSLContext:
        context: ssl.SSLContext = build()
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    iot._mtls_build_ssl_context = requiring


def create_job_is_checked_on_its_targets() -> None:
    """Ask for iot:CreateJob on the job and on each target; MiniStack asks on the job alone.

    "CreateJob … Resource types (*required): job*, thing*, thinggroup*" (service authorization reference, AWS IoT).
    """
    resources = iam_actions.iot_resource_arns

    def with_targets(method: str, path: str, body: bytes, region: str, account: str) -> list[str]:
        created = re.fullmatch("/jobs/([^/]+)", path) if method == "PUT" else None
        if created is None:
            return list(resources(method, path, body, region, account))
        targets = iot.parse_json_body(body).get("targets")
        named = (
            [target for target in targets if isinstance(target, str)]
            if isinstance(targets, list)
            else []
        )
        return [f"arn:aws:iot:{region}:{account}:job/{created[1]}", *named]

    iam_actions.iot_resource_arns = with_targets


def timers_tell() -> None:
    """End an execution when its timer runs out, with events; MiniStack does at the next read, and sends none.

    "whenever a job execution remains in the IN_PROGRESS status for longer than this interval, the job execution will
    fail and switch to the terminal TIMED_OUT status" (API reference, TimeoutConfig); a ListNotification is published
    when "an old job execution changes to a terminal status (…, TIMED_OUT, …)" (jobs-comm-notifications).
    """
    apply_timeout = iot._jobs_apply_timeout
    iot._jobs_apply_timeout = lambda execution: execution
    _keep(_look_at_timers(apply_timeout))


async def _look_at_timers(apply_timeout: Callable[[dict[str, Any]], object]) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        for (account, region, _), execution in list(iot._job_executions._data.items()):
            with request_scope(account, region):
                if iot._jobs_seconds_before_timeout(execution) != 0:
                    continue
                before = iot.jobs_first_pending_job_id(execution["thingName"])
            async with iot.publishing_events():
                with request_scope(account, region):
                    apply_timeout(execution)
                if execution["status"] == "TIMED_OUT":
                    await iot.jobs_notify_thing(account, region, execution["thingName"], before)


def step_timers_run() -> None:
    """Start the timer of ``stepTimeoutInMinutes``; MiniStack does for UpdateJobExecution over HTTP alone.

    "Specifies the amount of time this device has to finish execution of this job. If the job execution status is not
    set to a terminal state before this timer expires, or before the timer is reset (…) the job execution status is
    automatically set to TIMED_OUT." (jobs-mqtt-api, StartNextPendingJobExecution and UpdateJobExecution); "Valid
    values for this parameter range from 1 to 10080 (…) A value of -1 is also valid and will cancel the current step
    timer" (UpdateJobExecution). Fractions are let through, so that a test need not take a minute.
    """
    over_mqtt, over_http = iot._handle_jobs_publish, iot_jobs_data._start_next
    update, start_next = iot.jobs_update_execution, iot.jobs_start_next_execution
    details_error = iot._jobs_status_details_error
    asked: ContextVar[Any] = ContextVar("asked", default=None)

    async def handle_mqtt(*place: Any) -> None:
        asked.set(iot.parse_json_body(place[-1]).get("stepTimeoutInMinutes"))
        await over_mqtt(*place)

    def handle_http(thing: str, payload: dict[str, Any], *, peek: bool) -> Any:
        asked.set(payload.get("stepTimeoutInMinutes"))
        return over_http(thing, payload, peek=peek)

    def updated(
        thing: str, job_id: str, *, step_timeout_minutes: Any = None, **options: Any
    ) -> Any:
        if step_timeout_minutes is not None:
            asked.set(step_timeout_minutes)
        execution, error = update(thing, job_id, **options)
        if error is None and execution["status"] == "IN_PROGRESS":
            _set_timer(thing, job_id, asked.get())
        return execution, error

    def started(thing: str, *, status_details: Any = None, peek: bool = False) -> Any:
        execution = start_next(thing, status_details=status_details, peek=peek)
        if execution is not None and not peek:
            _set_timer(thing, execution["jobId"], asked.get())
        return execution

    iot._handle_jobs_publish, iot_jobs_data._start_next = handle_mqtt, handle_http
    iot.jobs_update_execution, iot.jobs_start_next_execution = updated, started
    # Each request is checked there before anything else happens.
    iot._jobs_status_details_error = lambda details: (
        _step_timeout_error(asked.get()) or details_error(details)
    )


def _step_timeout_error(minutes: Any) -> Any:
    is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
    if minutes is None or (is_number and (minutes == -1 or 0 < minutes <= LONGEST_STEP)):
        return None
    return _invalid(f"stepTimeoutInMinutes must be -1 or from 1 to {LONGEST_STEP}")


def _set_timer(thing: str, job_id: str, minutes: Any) -> None:
    if minutes is None:
        return
    execution = iot._job_executions[thing, job_id]
    execution.pop("stepTimeoutInMinutes", None)
    if minutes != -1:
        execution |= {"stepTimeoutInMinutes": minutes, "timeoutStartedAt": iot._jobs_now_ms()}


def status_details_are_checked() -> None:
    """Refuse statusDetails that AWS does not take; MiniStack takes texts of any length and number.

    "Key Length Constraints: Minimum length of 1. Maximum length of 128. Key Pattern: [a-zA-Z0-9:_-]+; Value Length
    Constraints: Minimum length of 1. Maximum length of 1024. Value Pattern: [^\\p{C}]+" (API reference,
    UpdateJobExecution); at most 10 pairs (job-limits).
    """
    check = iot._jobs_status_details_error
    iot._jobs_status_details_error = lambda details: check(details) or _details_error(details or {})


def _details_error(details: dict[str, str]) -> Any:
    if len(details) > DETAILS:
        return _invalid(f"statusDetails has more than {DETAILS} pairs")
    for name, text in details.items():
        if not re.fullmatch("[a-zA-Z0-9:_-]{1,128}", name):
            return _invalid("a key in statusDetails must match [a-zA-Z0-9:_-]{1,128}")
        if len(text) > LONGEST_DETAIL or any(
            category(character).startswith("C") for character in text
        ):
            return _invalid(
                f"a value in statusDetails has 1 to {LONGEST_DETAIL} characters, and no control characters"
            )
    return None


def _invalid(message: str) -> Any:
    return iot.error_response_json("InvalidRequestException", message, HTTPStatus.BAD_REQUEST)


CORRECTIONS: tuple[Callable[[], None], ...] = (
    in_progress_comes_first,
    ten_are_listed,
    a_later_one_becomes_the_next,
    create_job_answers_first,
    a_certificate_is_required,
    create_job_is_checked_on_its_targets,
    timers_tell,
    step_timers_run,
    status_details_are_checked,
)


def _keep(work: Coroutine[Any, Any, None]) -> None:
    """Run a task in the event loop, which alone would let it be collected."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
