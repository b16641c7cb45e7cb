"""Corrects MiniStack where it differs from what AWS documents.

Each correction stands alone, and replaces functions of the one version of MiniStack that it fits.
docs/fidelity.md lists the corrections and the differences that remain. Both name AWS's documents
by their pages. This module runs in MiniStack's process and event loop.
"""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from datetime import datetime
from http import HTTPStatus
from importlib.metadata import version
from typing import Any
from unicodedata import category

from ministack.core import iam_actions
from ministack.core.responses import request_scope
from ministack.services import iot

from jobs_sandbox.core.jobs import DOCUMENT_LIMIT, LIST_LIMIT
from jobs_sandbox.local import ACCOUNT, REGION
from jobs_sandbox.local.policies import policy_flaw

MINISTACK = "1.5.33"
"""The version that the corrections fit, and that the local extra pins."""

# In seconds. AWS documents that each takes time, but not how much.
ROLL_OUT_TAKES = 0.2
RETRY_TAKES = 0.5
DELETION_TAKES = 1.0
TIMERS_ARE_CHECKED_EVERY = 1.0

DELETING = "DELETION_IN_PROGRESS"
SCHEDULED = "SCHEDULED"
MOST_DELETIONS = 10
LONGEST_TOKEN = 64  # characters
LONGEST_STEP = 10080  # minutes
MOST_DETAILS, LONGEST_DETAIL = 10, 1024  # pairs, characters

requester: ContextVar[Any] = ContextVar("requester", default=None)
"""The MQTT connection whose packet is handled."""

_RESPONSE = re.compile(r"\$aws/things/[^/]+/jobs/.+/(accepted|rejected)")
_tasks: set[asyncio.Task[None]] = set()


def apply() -> None:
    """Apply all corrections.

    Raises:
        RuntimeError: another MiniStack is installed, which they do not fit.

    """
    installed = version("ministack")
    if installed != MINISTACK:
        raise RuntimeError(f"MiniStack {installed} is installed, and {MINISTACK} is needed")
    for correct in CORRECTIONS:
        correct()


# The queue of a thing


def order_and_limit_lists() -> None:
    """List pending executions by status, then by age, and ten at most; MiniStack lists all by age.

    "Any job executions with status IN_PROGRESS are returned first. Job executions are returned in
    the order in which they were created." (jobs-mqtt-api, StartNextPendingJobExecution); "sorted by
    status (IN_PROGRESS job executions before QUEUED job executions) and then by the times when they
    were queued" (jobs-comm-notifications); "ListNotification (…) Without scheduling configuration:
    10"; GetPendingJobExecutions "can return up to a maximum of 10 pending job executions"
    (job-limits, "Maximum number of pending job executions").
    """
    pending = iot.jobs_pending_for_thing

    def first_ten(thing: str) -> list[dict[str, Any]]:
        executions = sorted(pending(thing), key=lambda one: one["status"] != "IN_PROGRESS")
        return executions[:LIST_LIMIT]

    iot.jobs_pending_for_thing = first_ten


def notify_next_after_update() -> None:
    """Send notify-next when an update makes another execution the next one; MiniStack does not.

    "If the status of J2 is changed to IN_PROGRESS while the state of J1 remains unchanged, then
    this notification is sent and contains details of J2." (jobs-mqtt-api, NextJobExecutionChanged)
    """
    handle = iot._handle_jobs_publish

    async def handle_and_notify(
        account: str, region: str, thing: str, verb: str, job_id: str, payload: bytes
    ) -> None:
        before = _next_execution(thing)
        await handle(account, region, thing, verb, job_id, payload)
        after = _next_execution(thing)
        # If another execution has become the next, MiniStack itself has sent the event.
        if verb == "update" and before.get("jobId", job_id) != job_id == after.get("jobId"):
            with request_scope(account, region):
                view = iot._jobs_mqtt_execution(after, iot._jobs_job_document_object(job_id))
            event = iot._jobs_mqtt_json({"timestamp": int(time.time()), "execution": view})
            topic = f"$aws/things/{thing}/jobs/notify-next"
            await iot.broker_publish(account, region, topic, event.encode(), qos=1)

    iot._handle_jobs_publish = handle_and_notify


def _next_execution(thing: str) -> dict[str, Any]:
    with request_scope(ACCOUNT, REGION):
        return iot.jobs_start_next_execution(thing, peek=True) or {}


async def _change(things: list[str], change: Callable[[], None]) -> None:
    """Change the pending executions of things, and send the events."""
    async with iot.publishing_events():
        with request_scope(ACCOUNT, REGION):
            before = {thing: iot.jobs_first_pending_job_id(thing) for thing in things}
            change()
        for thing in things:
            await iot.jobs_notify_thing(ACCOUNT, REGION, thing, before[thing])


# Jobs


def publish_events_after_create_job() -> None:
    """Queue a new job's executions, with events, a moment after CreateJob's answer.

    MiniStack does before it. AWS rolls a job out asynchronously: "processingTargets: The target
    devices to which the job execution is being rolled out" (API reference, JobProcessDetails).
    """
    materialize, create = iot._jobs_materialize_executions, iot._create_job

    def materialize_if_rolled_out(job_id: str) -> None:
        if iot._jobs.get(job_id, {}).get("rolledOut"):
            materialize(job_id)

    async def create_job(job_id: str, payload: dict[str, Any]) -> Any:
        answer = await create(job_id, payload)
        if answer[0] == HTTPStatus.OK:
            run(_roll_out(iot._jobs[job_id]))
        return answer

    iot._jobs_materialize_executions = materialize_if_rolled_out
    iot._create_job = create_job


async def _roll_out(job: dict[str, Any]) -> None:
    await asyncio.sleep(ROLL_OUT_TAKES)

    def roll_out() -> None:
        job["rolledOut"] = True
        iot._jobs_materialize_executions(job["jobId"])

    if job["status"] == "IN_PROGRESS":
        with request_scope(ACCOUNT, REGION):
            things = iot._job_target_things(job["targets"])
        later = job.get("rolloutQueue", ())
        await _change([thing for thing in things if thing not in later], roll_out)


def wait_for_start_times() -> None:
    """Let a job be SCHEDULED until its startTime; MiniStack starts it at once.

    "When the job reaches your selected startTime (…), the status will update from SCHEDULED to
    IN_PROGRESS and begin rollout of the job document to all devices in the target group."
    (iot-jobs-lifecycle)
    """
    create, cancel = iot._create_job, iot._cancel_job

    async def create_job(job_id: str, payload: dict[str, Any]) -> Any:
        answer = await create(job_id, payload)
        start = (payload.get("schedulingConfig") or {}).get("startTime")
        if answer[0] == HTTPStatus.OK and start:
            job = iot._jobs[job_id]
            job["status"] = SCHEDULED
            run(_start(job, datetime.fromisoformat(f"{start}+00:00").timestamp()))
        return answer

    async def cancel_job(job_id: str, payload: dict[str, Any], query: dict[str, str]) -> Any:
        job = iot._jobs.get(job_id, {})
        # MiniStack cancels jobs that are IN_PROGRESS, and no others.
        if job.get("status") == SCHEDULED:
            job["status"] = "IN_PROGRESS"
        return await cancel(job_id, payload, query)

    iot._create_job, iot._cancel_job = create_job, cancel_job


async def _start(job: dict[str, Any], start: float) -> None:
    await asyncio.sleep(start - time.time())
    if job["status"] == SCHEDULED:
        job["status"] = "IN_PROGRESS"
        await _roll_out(job)


def measure_documents_in_bytes() -> None:
    """Refuse a job document of more than 32 KB; MiniStack counts characters.

    "Job document … 32 KB" (AWS IoT Device Management quotas).
    """
    flaw = iot._job_inline_document_error

    def flaw_or_size(document: Any) -> Any:
        if isinstance(document, str) and len(document.encode()) > DOCUMENT_LIMIT:
            return _invalid(f"document exceeds the maximum length of {DOCUMENT_LIMIT} bytes")
        return flaw(document)

    iot._job_inline_document_error = flaw_or_size


def retry_failed_executions() -> None:
    """Queue another execution after a failure, as the job's retry criteria say; MiniStack does not.

    "When AWS IoT Jobs detects the FAILURE status, it will then automatically attempt to retry the
    job execution for the device. The retries continue until the job execution succeeds or when it
    reaches the maximum number of retry attempts." (jobs-configurations-details, which says the same
    of TIMED_OUT); "numberOfRetries: Minimum value of 0. Maximum value of 10" (API reference,
    RetryCriteria).
    """
    complete, create = iot._jobs_maybe_complete, iot._create_job

    async def create_job(job_id: str, payload: dict[str, Any]) -> Any:
        config = {"jobExecutionsRetryConfig": payload.get("jobExecutionsRetryConfig")}
        if violations := iot._job_update_violations(job_id, config):
            return iot._job_validation_error(violations)
        return await create(job_id, payload)

    def complete_without_retries(job_id: str) -> None:
        job = iot._jobs.get(job_id)
        executions = [one for one in iot._job_executions.values() if one["jobId"] == job_id]
        failed = [execution for execution in executions if _is_retried(job, execution)]
        for execution in failed:
            if not execution.setdefault("retrying", False):
                execution["retrying"] = True
                run(_retry(job, execution))
        if not failed:
            complete(job_id)

    iot._create_job, iot._jobs_maybe_complete = create_job, complete_without_retries


def _is_retried(job: Any, execution: Any) -> bool:
    """Whether an execution has failed, and the job's retries are not used up."""
    if job["status"] != "IN_PROGRESS" or execution["status"] not in ("FAILED", "TIMED_OUT"):
        return False
    criteria = (job["jobExecutionsRetryConfig"] or {}).get("criteriaList", [])
    most: dict[str, int] = {one["failureType"]: one["numberOfRetries"] for one in criteria}
    if "ALL" in most:
        return len(execution.get("history", [])) < most["ALL"]
    before = [one["status"] for one in execution.get("history", [])]
    return before.count(execution["status"]) < most.get(execution["status"], 0)


async def _retry(job: dict[str, Any], failed: dict[str, Any]) -> None:
    await asyncio.sleep(RETRY_TAKES)
    thing, job_id = failed["thingName"], job["jobId"]

    def queue_again() -> None:
        iot._jobs_queue_execution(thing, job_id, iot._jobs_now_ms())
        attempt = failed.get("retryAttempt", 0) + 1
        iot._job_executions[thing, job_id]["retryAttempt"] = attempt

    with request_scope(ACCOUNT, REGION):
        is_latest = iot._job_executions.get((thing, job_id)) is failed
    # Meanwhile it may have been deleted, and the job canceled or aborted.
    if is_latest and _is_retried(job, failed):
        await _change([thing], queue_again)


def delete_jobs_after_a_while() -> None:
    """Let a deletion take a while; MiniStack deletes with DeleteJob's answer.

    "While the job is being deleted, the status of the job will be shown as "DELETION_IN_PROGRESS".
    Attempting to delete or cancel a job whose status is already "DELETION_IN_PROGRESS" will result
    in an error. Only 10 jobs may have status "DELETION_IN_PROGRESS" at the same time, or a
    LimitExceededException will occur. (…) After a job deletion is completed, you may reuse this
    jobId"; without force, "you can only delete a job which is in a terminal state ("COMPLETED" or
    "CANCELED") or an exception will occur" (API reference, DeleteJob).
    """
    delete = iot._delete_job

    async def delete_job(job_id: str, query: dict[str, str]) -> Any:
        job = iot._jobs.get(job_id)
        if job is None:
            return await delete(job_id, query)
        if job["status"] == DELETING:
            return refusal(job)
        if job["status"] in {"IN_PROGRESS", SCHEDULED} and not iot._qp_bool(query, "force"):
            return refusal(job)
        if sum(other["status"] == DELETING for other in iot._jobs.values()) >= MOST_DELETIONS:
            message = f"{MOST_DELETIONS} jobs are in status {DELETING}."
            return iot.error_response_json("LimitExceededException", message, 410)
        job["status"] = DELETING
        run(delete_later(job_id))
        return iot.json_response({})

    def refusal(job: dict[str, Any]) -> Any:
        code = "InvalidStateTransitionException"
        return iot.error_response_json(
            code, f"Job {job['jobId']} is in status {job['status']}.", HTTPStatus.CONFLICT
        )

    async def delete_later(job_id: str) -> None:
        await asyncio.sleep(DELETION_TAKES)
        with request_scope(ACCOUNT, REGION):
            async with iot.publishing_events():
                await delete(job_id, {"force": "true"})

    iot._delete_job = delete_job


# Timers


def notify_when_a_timer_expires() -> None:
    """End an execution when its timer runs out, with events; MiniStack does at the next read.

    "whenever a job execution remains in the IN_PROGRESS status for longer than this interval, the
    job execution will fail and switch to the terminal TIMED_OUT status" (API reference,
    TimeoutConfig); a ListNotification is published when "an old job execution changes to a terminal
    status (…, TIMED_OUT, …)" (jobs-comm-notifications).
    """
    expire = iot._jobs_apply_timeout
    iot._jobs_apply_timeout = lambda execution: execution
    run(_check_timers(expire))


async def _check_timers(expire: Callable[[dict[str, Any]], None]) -> None:
    while True:
        await asyncio.sleep(TIMERS_ARE_CHECKED_EVERY)
        with request_scope(ACCOUNT, REGION):
            executions = list(iot._job_executions.values())
            due = [one for one in executions if iot._jobs_seconds_before_timeout(one) == 0]
        for execution in due:
            thing = execution["thingName"]
            async with iot.publishing_events():
                with request_scope(ACCOUNT, REGION):
                    before = iot.jobs_first_pending_job_id(thing)
                    expire(execution)
                # In its last second, too, it has 0 seconds left.
                if execution["status"] == "TIMED_OUT":
                    await iot.jobs_notify_thing(ACCOUNT, REGION, thing, before)


def run_both_timers() -> None:
    """Let the job's timer run on beside a step timer; MiniStack lets the step timer replace it.

    "The step timer can't exceed the in-progress timer's absolute bound."
    (jobs-configurations-details); "A value of -1 is also valid and will cancel the current step
    timer" (API reference, UpdateJobExecution).
    """
    minutes_of = iot._jobs_timeout_minutes

    def earlier(execution: dict[str, Any], job: Any) -> Any:
        step = execution.get("stepTimeoutInMinutes")
        in_progress = minutes_of(execution | {"stepTimeoutInMinutes": None}, job)
        if step is not None and in_progress is not None:
            # MiniStack counts from the start of the step timer.
            in_progress -= (execution["timeoutStartedAt"] - execution["startedAt"]) / 60_000
        limits = [limit for limit in (step, in_progress) if limit not in {None, -1}]
        return min(limits, default=None)

    iot._jobs_timeout_minutes = earlier


def run_step_timers() -> None:
    """Start the timer of ``stepTimeoutInMinutes`` over MQTT; MiniStack does over HTTP alone.

    "If the job execution status is not set to a terminal state before this timer expires, or before
    the timer is reset (by calling UpdateJobExecution (…)) the job execution status will be
    automatically set to TIMED_OUT. (…) Valid values for this parameter range from 1 to 10080" (API
    reference, StartNextPendingJobExecution). Fractions are accepted, so that a test need not take a
    minute.
    """
    update, start_next = iot.jobs_update_execution, iot.jobs_start_next_execution
    asked: ContextVar[Any] = ContextVar("asked", default=None)

    def check(verb: str, request: dict[str, Any]) -> str:
        minutes = request.get("stepTimeoutInMinutes")
        asked.set(minutes)
        if minutes is None or (verb == "update" and minutes == -1):
            return ""
        if type(minutes) in {int, float} and 0 < minutes <= LONGEST_STEP:
            return ""
        return f"stepTimeoutInMinutes must be from 1 to {LONGEST_STEP}; an update may have -1"

    def updated(thing: str, job_id: str, **options: Any) -> Any:
        return update(thing, job_id, **{"step_timeout_minutes": asked.get()} | options)

    def started(thing: str, *, status_details: Any = None, peek: bool = False) -> Any:
        waiting = start_next(thing, peek=True)
        execution = start_next(thing, status_details=status_details, peek=peek)
        if asked.get() and not peek and waiting and waiting["status"] == "QUEUED":
            timer = {"stepTimeoutInMinutes": asked.get(), "timeoutStartedAt": iot._jobs_now_ms()}
            iot._job_executions[thing, execution["jobId"]].update(timer)
            execution |= timer
        return execution

    _check_requests(check)
    iot.jobs_update_execution, iot.jobs_start_next_execution = updated, started


# Requests of devices, and their responses


def answer_the_requester_alone() -> None:
    """Send a response to the connection that asked, and to no other; MiniStack publishes it.

    "the message broker will publish response message topics to the client that published the
    command message, whether your client has subscribed to the response message topics or not.
    These response messages do not pass through the message broker and they cannot be subscribed to
    by other clients or rules." (jobs-mqtt-api)
    """
    handle, publish = iot._WSSession.handle_packet, iot.broker_publish

    async def handle_packet(session: Any, *packet: Any) -> Any:
        requester.set(session)
        return await handle(session, *packet)

    async def broker_publish(
        account: str, region: str, topic: str, payload: bytes, *rest: Any, **options: Any
    ) -> None:
        session = requester.get()
        if session is None or _RESPONSE.fullmatch(topic) is None:
            await publish(account, region, topic, payload, *rest, **options)
            return
        granted = [
            session._sub_granted_qos[number]
            for number, topic_filter in session._sub_filters.items()
            if iot._subscription_matches(topic_filter, topic)
        ]
        await session.deliver_to_client(topic, payload, max(granted, default=1))

    iot._WSSession.handle_packet, iot.broker_publish = handle_packet, broker_publish


def check_status_details() -> None:
    """Refuse statusDetails that AWS does not take; MiniStack takes texts of any length and number.

    "Key Length Constraints: Minimum length of 1. Maximum length of 128. Key Pattern:
    [a-zA-Z0-9:_-]+ (…) Value Pattern: [^\\p{C}]+" (API reference, UpdateJobExecution); "The maximum
    length of the value in the name/value pair is 1,024 characters" (JobExecution); "You can specify
    at most 10 name/value pairs." (CancelJobExecution).
    """
    check = iot._jobs_status_details_error

    def checked(details: Any) -> Any:
        return check(details) or _details_error(details or {})

    iot._jobs_status_details_error = checked


def _details_error(details: dict[str, str]) -> Any:
    if len(details) > MOST_DETAILS:
        return _invalid(f"statusDetails has more than {MOST_DETAILS} pairs")
    for name, text in details.items():
        if not re.fullmatch("[a-zA-Z0-9:_-]{1,128}", name):
            return _invalid("a key in statusDetails must match [a-zA-Z0-9:_-]{1,128}")
        is_control = any(category(character).startswith("C") for character in text)
        if len(text) > LONGEST_DETAIL or is_control:
            limit = f"1 to {LONGEST_DETAIL} characters without control characters"
            return _invalid(f"a value in statusDetails must have {limit}")
    return None


def check_client_tokens() -> None:
    """Refuse a clientToken that is not text of at most 64 characters; MiniStack takes anything.

    "The client token can't be longer than 64 bytes. A client token that is longer than 64 bytes
    causes an error response and an InvalidRequest error message."
    (mqtt-based-file-delivery-in-devices; jobs-mqtt-api: "clientToken": "string")
    """

    def check(_: str, request: dict[str, Any]) -> str:
        token = request.get("clientToken")
        if token is None or (isinstance(token, str) and len(token) <= LONGEST_TOKEN):
            return ""
        return f"clientToken must be text of at most {LONGEST_TOKEN} characters"

    _check_requests(check)


def take_execution_numbers_as_text() -> None:
    """Take an executionNumber that is text, such as "1"; MiniStack finds no such execution.

    AWS's Device SDK v1 for Python sends it so with an update (thingJobManager.py,
    serializeJobExecutionUpdatePayload).
    """

    def convert(_: str, request: dict[str, Any]) -> str:
        number = request.get("executionNumber")
        if isinstance(number, str) and number.isdecimal():
            request["executionNumber"] = int(number)
        return ""

    _check_requests(convert)


def _check_requests(check: Callable[[str, dict[str, Any]], str]) -> None:
    """Let a function see each request over MQTT, its verb and its body, before it is handled.

    The function may change the body, and returns why the request is refused, or ``""``.
    """
    handle = iot._handle_jobs_publish

    async def handle_checked(
        account: str, region: str, thing: str, verb: str, job_id: str | None, payload: bytes
    ) -> None:
        request = iot.parse_json_body(payload)
        original = dict(request)
        if reason := check(verb, request):
            await reject(thing, verb, job_id, payload, "InvalidRequest", reason)
            return
        if request != original:
            payload = json.dumps(request).encode()
        await handle(account, region, thing, verb, job_id, payload)

    iot._handle_jobs_publish = handle_checked


async def reject(
    thing: str, verb: str, job_id: str | None, payload: bytes, code: str, message: str
) -> None:
    """Answer a request over MQTT with a rejection."""
    token = iot.parse_json_body(payload).get("clientToken")
    state = None
    if code == "VersionMismatch":
        with request_scope(ACCOUNT, REGION):
            execution = iot.jobs_describe_execution(thing, job_id)
        state = execution and iot.jobs_execution_state(execution)
    answer = iot._jobs_rejected(code, message, token if isinstance(token, str) else None, state)
    topic = "/".join(filter(None, ["$aws/things", thing, "jobs", job_id, verb, "rejected"]))
    await iot.broker_publish(ACCOUNT, REGION, topic, iot._jobs_mqtt_json(answer).encode(), qos=1)


# Access


def require_a_certificate() -> None:
    """Refuse an MQTT client without a certificate; MiniStack lets it in, and no policy applies.

    "MQTT … 8883 … Authentication: X.509 client certificate" (protocols, "Protocols, port mappings,
    and authentication").
    """
    build = iot._mtls_build_ssl_context

    def build_requiring() -> ssl.SSLContext:
        context: ssl.SSLContext = build()
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    iot._mtls_build_ssl_context = build_requiring


def check_create_job_on_its_targets() -> None:
    """Ask for iot:CreateJob on the job and on each target; MiniStack asks on the job alone.

    "CreateJob … Resource types (*required): job*, thing*, thinggroup*" (service authorization
    reference).
    """
    resources = iam_actions.iot_resource_arns

    def with_targets(method: str, path: str, body: bytes, region: str, account: str) -> list[str]:
        created = re.fullmatch("/jobs/([^/]+)", path) if method == "PUT" else None
        if created is None:
            return list(resources(method, path, body, region, account))
        targets = iot.parse_json_body(body).get("targets") or []
        return [f"arn:aws:iot:{region}:{account}:job/{created[1]}", *map(str, targets)]

    iam_actions.iot_resource_arns = with_targets


def check_device_policies() -> None:
    """Refuse a device policy that is malformed or too long; MiniStack takes any JSON.

    "MalformedPolicyException: The policy documentation is not valid." (API reference,
    CreatePolicy); "Policy document size: 2048 characters, without white space" (AWS IoT Core
    quotas).
    """

    def checked(create: Callable[..., Any]) -> Callable[..., Any]:
        def create_checked(name: str, payload: dict[str, Any], *query: Any) -> Any:
            document = payload.get("policyDocument")
            if isinstance(document, str) and document and (flaw := policy_flaw(document)):
                return iot.error_response_json("MalformedPolicyException", flaw, 400)
            return create(name, payload, *query)

        return create_checked

    iot._create_policy = checked(iot._create_policy)
    iot._create_policy_version = checked(iot._create_policy_version)


CORRECTIONS: tuple[Callable[[], None], ...] = (
    order_and_limit_lists,
    notify_next_after_update,
    publish_events_after_create_job,
    wait_for_start_times,
    measure_documents_in_bytes,
    retry_failed_executions,
    delete_jobs_after_a_while,
    notify_when_a_timer_expires,
    run_both_timers,
    run_step_timers,
    answer_the_requester_alone,
    check_status_details,
    check_client_tokens,
    take_execution_numbers_as_text,
    require_a_certificate,
    check_create_job_on_its_targets,
    check_device_policies,
)


def _invalid(message: str) -> Any:
    return iot.error_response_json("InvalidRequestException", message, HTTPStatus.BAD_REQUEST)


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a task that belongs to no request, and keep it alive: the event loop alone does not."""
    task = asyncio.get_running_loop().create_task(work, context=Context())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
