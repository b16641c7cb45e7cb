"""The reasons why a job is stuck, in a table, and the facts that show them.

The fields are those of Job, JobExecution and GetThingConnectivityData in the AWS IoT API Reference;
the statuses are explained in
https://docs.aws.amazon.com/iot/latest/developerguide/iot-jobs-lifecycle.html.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from jobs_sandbox.core.blocks import EVENTS, TOPICS
from jobs_sandbox.core.jobs import PENDING
from jobs_sandbox.session.activity import rejections

Fields = Mapping[str, Any]

QUIET = 30.0
"""Seconds after which a device that has done nothing for an execution is worth a finding."""

_GRACE = 3.0
"""Seconds that a device has after a connect, to subscribe and to ask."""

_RECENT = 60.0  # seconds

_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known about a job and a thing. Times are in seconds since 1970.

    Attributes:
        job_id: the id of the job.
        thing: the name of the thing.
        now: the time.
        job: of DescribeJob; empty if there is no such job, None if it could not be asked.
        execution: of DescribeJobExecution, in the same way.
        in_front: of ListJobExecutionsForThing: the executions before this one, the next one first.
        namespace: the ``namespaceId`` of the first of them, if it is not that of this job.
        connectivity: of GetThingConnectivityData; empty if it could not be asked.
        activity: what the embedded AWS IoT has seen of the device, see `Service.activity`; None
            without it.
        absence: how the process of ``--device`` has ended, see `Device.absence`.

    """

    job_id: str
    thing: str
    now: float
    job: Fields | None = None
    execution: Fields | None = None
    in_front: list[Fields] = field(default_factory=list)
    namespace: str = ""
    connectivity: Fields = field(default_factory=dict)
    activity: Fields | None = None
    absence: str = ""

    @property
    def job_status(self) -> str:
        """The status of the job, or ``""``."""
        return str((self.job or {}).get("status", ""))

    @property
    def status(self) -> str:
        """The status of the execution, or ``""``."""
        return str((self.execution or {}).get("status", ""))

    @property
    def queued_at(self) -> float:
        """When the execution was queued."""
        queued_at: float = (self.execution or {}).get("queuedAt") or 0
        return queued_at

    @property
    def connected(self) -> list[Fields]:
        """The clients with which the device is connected now."""
        clients: list[Fields] = (self.activity or {}).get("clients", [])
        return [client for client in clients if client["connected"]]

    def logged(self, *what: str, since: float = 0) -> list[Fields]:
        """The entries of these kinds in the log of the device, the last one first."""
        log: list[Fields] = (self.activity or {}).get("log", [])
        return [entry for entry in log[::-1] if entry["what"] in what and entry["time"] >= since]

    def at(self, seconds: Any) -> str:
        """A time, and how long ago it was."""
        if not seconds or seconds < 0:
            return "an unknown time"
        ago = max(0, int(self.now - seconds))
        name, unit = next(one for one in _UNITS.items() if ago >= one[1] or one[1] == 1)
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        return f"{when} ({ago // unit} {name} ago)"


class Reason(NamedTuple):
    """A reason why a job is stuck, or why it is not.

    Attributes:
        name: for programs.
        meaning: one sentence.
        fact: returns the fact that shows it, or ``""`` if that is not the reason.
        next_step: what to do; ``{job_id}`` and ``{thing}`` are filled in.

    """

    name: str
    meaning: str
    fact: Callable[[Evidence], str]
    next_step: str


# The job


def _has_no_job(evidence: Evidence) -> str:
    return "DescribeJob finds no such job in this region and account" if evidence.job == {} else ""


def _is_deleted(evidence: Evidence) -> str:
    return _job(evidence) if evidence.job_status == "DELETION_IN_PROGRESS" else ""


def _is_no_target(evidence: Evidence) -> str:
    targets = (evidence.job or {}).get("targets", [])
    reached = any(_is_thing(evidence, target) or ":thinggroup/" in target for target in targets)
    if evidence.execution != {} or not targets or reached:
        return ""
    return f"DescribeJob: its targets are {', '.join(targets)}"


def _is_scheduled(evidence: Evidence) -> str:
    config = (evidence.job or {}).get("schedulingConfig", {})
    if evidence.job_status != "SCHEDULED" or config.get("maintenanceWindows"):
        return ""
    return f"{_job(evidence)}, startTime {config.get('startTime')} UTC"


def _is_outside_its_window(evidence: Evidence) -> str:
    job = evidence.job or {}
    windows = job.get("schedulingConfig", {}).get("maintenanceWindows")
    if evidence.job_status != "SCHEDULED" or evidence.status or not windows:
        return ""
    rollouts = _text(job.get("scheduledJobRollouts", []))
    return f"{_job(evidence)}, maintenanceWindows {_text(windows)}, scheduledJobRollouts {rollouts}"


def _was_canceled_without_force(evidence: Evidence) -> str:
    is_so = evidence.job_status == "CANCELED" and evidence.status == "IN_PROGRESS"
    return f"{_job(evidence)}; its execution is IN_PROGRESS" if is_so else ""


def _was_canceled(evidence: Evidence) -> str:
    if evidence.status == "CANCELED":
        return f"{_end(evidence)}; {_job(evidence)}"
    is_so = evidence.job_status == "CANCELED" and evidence.execution == {}
    return f"{_job(evidence)}; this thing has no execution of it" if is_so else ""


def _was_completed_without(evidence: Evidence, *, is_target: bool = False) -> str:
    job = evidence.job or {}
    targets = job.get("targets", [])
    if evidence.job_status != "COMPLETED" or evidence.execution != {}:
        return ""
    if any(_is_thing(evidence, target) for target in targets) is not is_target:
        return ""
    return (
        f"{_job(evidence)}, targets {', '.join(targets)}, targetSelection "
        f"{job.get('targetSelection')}; this thing has no execution of it"
    )


def _is_rolled_out_later(evidence: Evidence) -> str:
    is_active = evidence.job is None or evidence.job_status == "IN_PROGRESS"
    if evidence.execution != {} or not is_active:
        return ""
    job = evidence.job or {}
    counts = job.get("jobProcessDetails", {})
    made = sum(count for name, count in counts.items() if name.startswith("numberOf"))
    fact = "DescribeJobExecution finds no execution of it for this thing"
    if job:
        rate = _text(job.get("jobExecutionsRolloutConfig", {}))
        targets = ", ".join(job.get("targets", []))
        fact += (
            f"; executions so far: {made}, targets {targets}, targetSelection "
            f"{job.get('targetSelection')}, jobExecutionsRolloutConfig {rate}"
        )
    return fact


def _is_thing(evidence: Evidence, arn: str) -> bool:
    return arn.endswith(f":thing/{evidence.thing}")


def _job(evidence: Evidence) -> str:
    """The status of the job, and why it has it."""
    if not evidence.job:
        return "the status of the job is not known"
    names = ("forceCanceled", "reasonCode", "comment")
    given = [f"{name} {_text(evidence.job[name])}" for name in names if name in evidence.job]
    return ", ".join([f"the job is {evidence.job_status}", *given])


# The execution


def _has_ended(status: str, evidence: Evidence) -> str:
    if evidence.status != status or _is_retried(evidence):
        return ""
    return _end(evidence)


def _is_retried(evidence: Evidence) -> str:
    """AWS IoT retries "until … it reaches the maximum number" (jobs-configurations-details)."""
    if evidence.job_status != "IN_PROGRESS" or evidence.status not in {"FAILED", "TIMED_OUT"}:
        return ""
    types = (evidence.status, "ALL")
    retries = [one["numberOfRetries"] for one in _retries(evidence) if one["failureType"] in types]
    attempts = max(retries, default=0) + 1
    number = (evidence.execution or {}).get("executionNumber", 1)
    if number >= attempts:
        return ""
    return f"{_end(evidence)}; AWS IoT tries again: attempt {number + 1} of {attempts}"


def _retries(evidence: Evidence) -> list[Fields]:
    config = (evidence.job or {}).get("jobExecutionsRetryConfig") or {}
    criteria: list[Fields] = config.get("criteriaList", [])
    return criteria


def _end(evidence: Evidence) -> str:
    execution = evidence.execution or {}
    ended = evidence.at(execution.get("lastUpdatedAt"))
    fact = f"its execution{_number(evidence)} is {evidence.status} since {ended}"
    return fact + _details(execution)


def _number(evidence: Evidence) -> str:
    """The number of the execution, unless it is the first."""
    number = (evidence.execution or {}).get("executionNumber", 1)
    if number == 1:
        return ""
    return f" (executionNumber {number}{', a retry' if _retries(evidence) else ''})"


def _details(execution: Fields) -> str:
    details = execution.get("statusDetails", {}).get("detailsMap")
    return f", statusDetails {_text(details)}" if details else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_behind(evidence: Evidence) -> str:
    return "" if evidence.namespace else _in_front(evidence)


def _is_behind_another_namespace(evidence: Evidence) -> str:
    fact = _in_front(evidence) if evidence.namespace else ""
    return f"{fact}; namespaceId {evidence.namespace}" if fact else ""


def _in_front(evidence: Evidence) -> str:
    if evidence.status != "QUEUED" or not evidence.in_front:
        return ""
    first = evidence.in_front[0]
    began = first.get("startedAt") or first.get("queuedAt")
    return (
        f"{len(evidence.in_front)} in front, first {first['jobId']}: {first['status']} since "
        f"{evidence.at(began)}"
    )


# The device


def _is_refused_by_policy(evidence: Evidence) -> str:
    if evidence.status not in PENDING:
        return ""
    accepted = [entry for entry in evidence.logged("connack") if entry["code"] == 0]
    since = accepted[0]["time"] if accepted else 0
    refusals = [
        entry for entry in evidence.logged("refused", since=since) if _matters(evidence, entry)
    ]
    # A device needs no subscription to get responses.
    refusals.sort(key=lambda entry: entry["resource"].endswith(("/accepted", "/rejected")))
    for entry in refusals[:1]:
        return (
            f"{entry['action']} of client {entry['client_id']} on {_resource(entry)} was refused "
            f"at {evidence.at(entry['time'])}"
        )
    return ""


def _matters(evidence: Evidence, refusal: Fields) -> bool:
    """Whether a refusal concerns Jobs, and the device has not been able to work since."""
    if refusal["action"] == "iot:Connect":
        return True
    # Also of another thing: a device may use the wrong name.
    if "/jobs/" not in _resource(refusal):
        return False
    work = ("update",) if "/update" in refusal["resource"] else ("start-next", "update")
    since = max(refusal["time"], evidence.queued_at)
    return not any(
        entry["operation"] in work and entry["outcome"] == "accepted"
        for entry in evidence.logged("response", since=since)
    )


def _resource(refusal: Fields) -> str:
    resource: str = refusal["resource"]
    return resource.split(":", 5)[-1]


_REASONS_OF_CODES = {
    "VersionMismatch": "version-mismatch",
    "RequestThrottled": "rejected-for-now",
    "InternalError": "rejected-for-now",
}


def _is_rejected(name: str, evidence: Evidence) -> str:
    """The last rejection for a reason, of a request that was not accepted later."""
    responses = evidence.logged("response", since=evidence.queued_at)
    found = [
        entry
        for entry in rejections(responses[::-1], evidence.job_id)
        if _REASONS_OF_CODES.get(entry.get("code", ""), "rejected") == name
    ]
    if evidence.status not in PENDING or not found:
        return ""
    last = found[-1]
    return (
        f"{_request(last)} of client {last['client_id']} was rejected at "
        f"{evidence.at(last['time'])}: {last.get('code')}: {last.get('message')}"
    )


def _is_taken_over(evidence: Evidence) -> str:
    if evidence.status not in PENDING:
        return ""
    if evidence.connectivity.get("disconnectReason") == "DUPLICATE_CLIENTID":
        changed = evidence.connectivity.get("timestamp", 0)
        is_over = evidence.connectivity["connected"] and evidence.now - changed > _RECENT
        is_so = not is_over and not _uses_another_client_id(evidence)
        return _connectivity(evidence) if is_so else ""
    ends = evidence.logged("disconnect", since=evidence.queued_at)
    taken = [entry for entry in ends if entry["reason"] == "DUPLICATE_CLIENTID"]
    # One is a device whose earlier connection was not closed.
    if len(taken) < 2:  # noqa: PLR2004
        return ""
    last = taken[0]
    is_over = evidence.connected or last is not ends[0]
    if is_over and evidence.now - last["time"] > _RECENT:
        return ""
    return (
        f"{len(taken)} times since it was queued, the last at {evidence.at(last['time'])}: "
        f"DUPLICATE_CLIENTID of client {last['client_id']}"
    )


def _has_no_process(evidence: Evidence) -> str:
    return evidence.absence if evidence.status in PENDING else ""


def _is_not_connected(evidence: Evidence) -> str:
    if evidence.status not in PENDING or evidence.connected:
        return ""
    if evidence.connectivity:
        is_there = evidence.connectivity["connected"] or _uses_another_client_id(evidence)
        return "" if is_there else _connectivity(evidence)
    for last in evidence.logged("disconnect")[:1]:
        return (
            f"client {last['client_id']} was disconnected at {evidence.at(last['time'])}: "
            f"{last['reason']}"
        )
    # Without a device of its own, the execution may have been started at the prompt.
    if evidence.activity is None or evidence.status == "IN_PROGRESS":
        return ""
    return "no client has connected with the certificate of the device"


def _uses_another_client_id(evidence: Evidence) -> bool:
    """Whether the execution was started or updated while its thing's name was not connected."""
    found, execution = evidence.connectivity, evidence.execution or {}
    return (
        evidence.status == "IN_PROGRESS"
        and not found["connected"]
        and found.get("timestamp", 0) < execution.get("lastUpdatedAt", 0)
    )


def _connectivity(evidence: Evidence) -> str:
    found = evidence.connectivity
    state = "connected" if found["connected"] else "not connected"
    if "timestamp" in found:
        state += f" since {evidence.at(found['timestamp'])}"
    return (
        f"GetThingConnectivityData, which knows the client id {evidence.thing} alone: {state}, "
        f"disconnectReason {found.get('disconnectReason')}"
    )


def _has_not_subscribed(evidence: Evidence) -> str:
    asked = evidence.logged("request", since=evidence.queued_at)
    if evidence.status != "QUEUED" or not _is_settled(evidence) or asked:
        return ""
    if any(_event_filters(evidence, client) for client in evidence.connected):
        return ""
    filters = [name for client in evidence.connected for name in client["subscriptions"]]
    return (
        f"client {_names(evidence)} has subscribed to {', '.join(filters) or 'nothing'}, and has "
        "not asked since the execution was queued"
    )


def _is_settled(evidence: Evidence) -> bool:
    """Whether the device has been connected for long enough to have subscribed and asked."""
    since = _connected_since(evidence)
    return since > 0 and evidence.now - since >= _GRACE


def _connected_since(evidence: Evidence) -> float:
    """When the last of its clients connected; 0 if none is connected."""
    return max((client["since"] for client in evidence.connected), default=0)


def _names(evidence: Evidence) -> str:
    return ", ".join(client["client_id"] for client in evidence.connected)


def _event_filters(evidence: Evidence, client: Fields) -> list[str]:
    """The topic filters of a client that match events of Jobs."""
    topics = [f"$aws/things/{evidence.thing}/jobs/{TOPICS[title]}" for title in EVENTS]
    return [
        name for name in client["subscriptions"] if any(_matches(name, topic) for topic in topics)
    ]


def _matches(name: str, topic: str) -> bool:
    """Whether a topic filter matches a topic."""
    pattern = re.escape(name).replace(r"\+", "[^/]+").replace(r"\#", ".*")
    return re.fullmatch(pattern, topic) is not None


def _has_not_asked(evidence: Evidence) -> str:
    changed = (evidence.execution or {}).get("lastUpdatedAt", 0)
    since = _connected_since(evidence)
    if evidence.status not in PENDING or not _is_settled(evidence) or since <= changed:
        return ""
    if evidence.logged("request", "event", since=since):
        return ""
    return (
        f"client {_names(evidence)} connected at {evidence.at(since)}, after the last change of "
        "the execution"
    )


# If nothing else is found


def _has_ignored_the_event(evidence: Evidence) -> str:
    events = evidence.logged("event", since=evidence.queued_at)
    if not events or evidence.logged("request", since=events[0]["time"]):
        return ""
    return _has_not_started(evidence)


def _has_only_asked(evidence: Evidence) -> str:
    asked = evidence.logged("request", since=evidence.queued_at)
    return _has_not_started(evidence) if asked else ""


def _has_not_started(evidence: Evidence) -> str:
    is_quiet = evidence.now - evidence.queued_at >= QUIET
    return _waiting(evidence) if evidence.status == "QUEUED" and is_quiet else ""


def _has_not_reported(evidence: Evidence) -> str:
    execution = evidence.execution or {}
    quiet = evidence.now - execution.get("lastUpdatedAt", 0) >= QUIET
    return _progress(evidence) if evidence.status == "IN_PROGRESS" and quiet else ""


def _is_healthy(evidence: Evidence) -> str:
    if evidence.status == "QUEUED":
        return _waiting(evidence)
    return _progress(evidence) if evidence.status == "IN_PROGRESS" else ""


def _is_not_known(_: Evidence) -> str:
    return "the execution is not known"


def _waiting(evidence: Evidence) -> str:
    """Since when an execution is queued, and what the device did."""
    queued = f"QUEUED{_number(evidence)} since {evidence.at(evidence.queued_at)}"
    return "; ".join([queued, *_device(evidence)])


def _progress(evidence: Evidence) -> str:
    """How far an execution in progress is, and what the device did."""
    execution = evidence.execution or {}
    fact = f"IN_PROGRESS{_number(evidence)} since {evidence.at(execution.get('startedAt'))}"
    # A queued execution has version 1, and the start makes it 2.
    if execution.get("versionNumber", 0) > 2:  # noqa: PLR2004
        fact += f", last report at {evidence.at(execution.get('lastUpdatedAt'))}"
    else:
        fact += ", and no report since"
    fact += f", versionNumber {execution.get('versionNumber')}{_details(execution)}"
    if "approximateSecondsBeforeTimedOut" in execution:
        fact += f"; it times out in {execution['approximateSecondsBeforeTimedOut']} s"
    return "; ".join([fact, *_device(evidence)])


def _device(evidence: Evidence) -> list[str]:
    """The connection of the device, the last event that it got, and its last request."""
    facts = [_connectivity(evidence)] if evidence.connectivity else []
    for client in evidence.connected:
        filters = ", ".join(_event_filters(evidence, client)) or "no event"
        facts.append(
            f"client {client['client_id']} is connected since {evidence.at(client['since'])}, "
            f"subscribed to {filters}"
        )
    if events := evidence.logged("event", since=evidence.queued_at):
        facts.append(f"the last event: {events[0]['name']} at {evidence.at(events[0]['time'])}")
    if unacknowledged := sum(client["unacknowledged"] for client in evidence.connected):
        facts.append(f"messages without PUBACK: {unacknowledged}")
    if requests := evidence.logged("request"):
        last = requests[0]
        facts.append(
            f"the last request: {_request(last)} of client {last['client_id']} at "
            f"{evidence.at(last['time'])}"
        )
    elif evidence.connected:
        facts.append("the device has asked for nothing")
    return facts


def _request(entry: Fields) -> str:
    """A request, or the response to it, in words."""
    words = [entry["operation"], entry.get("job_id"), entry.get("status")]
    return " ".join(filter(None, words))


_NEW_JOB = "an execution that has ended cannot change: create a new job."
_SEE_DEVICE = "see what the device prints"

REASONS = (
    Reason(
        "no-such-job",
        "There is no such job.",
        _has_no_job,
        "check the job id, the region and the account; `aws iot list-jobs` lists the jobs (it "
        "needs iot:ListJobs).",
    ),
    Reason(
        "being-deleted",
        "The job is being deleted.",
        _is_deleted,
        "wait a moment; its id is free again when diagnose-job says that there is no such job.",
    ),
    Reason(
        "succeeded",
        "The device has done the job.",
        partial(_has_ended, "SUCCEEDED"),
        "nothing is left to do.",
    ),
    Reason(
        "retried",
        "The execution failed, and AWS IoT tries again, as the job's retry criteria say.",
        _is_retried,
        "wait until the next attempt is queued.",
    ),
    Reason(
        "failed",
        "The device reported that it failed.",
        partial(_has_ended, "FAILED"),
        f"{_SEE_DEVICE}; {_NEW_JOB}",
    ),
    Reason(
        "rejected-by-device",
        "The device rejected the job.",
        partial(_has_ended, "REJECTED"),
        f"check that the device knows this job document; {_NEW_JOB}",
    ),
    Reason(
        "timed-out",
        "A timer ended the execution before the device reported the end.",
        partial(_has_ended, "TIMED_OUT"),
        f"{_SEE_DEVICE}, or allow more time in the timeoutConfig of a new job.",
    ),
    Reason(
        "removed",
        "The thing is no longer a target of the job.",
        partial(_has_ended, "REMOVED"),
        "add the thing to the thing group again, or create a job for the thing itself.",
    ),
    Reason(
        "canceled-without-force",
        "The job was canceled without force, and the device goes on: AWS IoT did not notify it.",
        _was_canceled_without_force,
        "let the device end its execution; or `delete-job {job_id}` removes the job; or `aws iot "
        "cancel-job-execution --job-id {job_id} --thing-name {thing} --force` cancels this "
        "execution (it needs iot:CancelJobExecution).",
    ),
    Reason(
        "canceled",
        "The job, or its execution, was canceled.",
        _was_canceled,
        _NEW_JOB,
    ),
    Reason(
        "not-a-target",
        "The job has other targets than this thing.",
        _is_no_target,
        "create a job for this thing; or start the program with the name of that thing.",
    ),
    Reason(
        "scheduled",
        "The job begins later.",
        _is_scheduled,
        "wait for its startTime; a job without schedulingConfig begins at once.",
    ),
    Reason(
        "outside-window",
        "The job waits for its next maintenance window.",
        _is_outside_its_window,
        "wait for the window; a job without maintenanceWindows begins at once.",
    ),
    Reason(
        "execution-gone",
        "The job is over, and its execution for this thing is gone: the thing may have been "
        "deleted and made again.",
        partial(_was_completed_without, is_target=True),
        "create a new job.",
    ),
    Reason(
        "completed-without",
        "The job was completed without an execution for this thing.",
        _was_completed_without,
        "a SNAPSHOT job reaches only the things that its targets had when it was created: create "
        "a new job.",
    ),
    Reason(
        "behind-another-namespace",
        "An execution of another namespace is in front; a device that hears `notify-next` alone "
        "never learns of it.",
        _is_behind_another_namespace,
        "end that execution with the software of its namespace (Greengrass), or cancel its job.",
    ),
    Reason(
        "behind",
        "Another execution is in front of it.",
        _is_behind,
        "run diagnose-job for the job in front; its execution must end first.",
    ),
    Reason(
        "refused-by-policy",
        "The policy of the device does not allow what it asks for.",
        _is_refused_by_policy,
        "allow it in the policy of its certificate; or correct the client id or the topic that "
        "the device uses.",
    ),
    Reason(
        "version-mismatch",
        "The device reports with an expectedVersion that is not the version of the execution.",
        partial(_is_rejected, "version-mismatch"),
        "let the device take versionNumber from the last response, or leave expectedVersion out.",
    ),
    Reason(
        "rejected-for-now",
        "AWS IoT could not serve a request of the device, and can later.",
        partial(_is_rejected, "rejected-for-now"),
        "let the device send it again after a pause that grows.",
    ),
    Reason(
        "rejected",
        "AWS IoT rejected the last request of the device.",
        partial(_is_rejected, "rejected"),
        f"{_SEE_DEVICE}, and correct the request.",
    ),
    Reason(
        "taken-over",
        "Another client connects with the client id of the device, and ends its connection.",
        _is_taken_over,
        "give each client a client id of its own.",
    ),
    Reason(
        "device-ended",
        "The process of --device does not run.",
        _has_no_process,
        "see what it printed; `start-device` starts it again.",
    ),
    Reason(
        "not-connected",
        "The device is not connected.",
        _is_not_connected,
        "check power, network, endpoint, certificate and client id of the device; without one, "
        "`start-next-pending-job-execution` plays the device.",
    ),
    Reason(
        "not-subscribed",
        "The device is connected, but not subscribed to the events of Jobs.",
        _has_not_subscribed,
        "let the device subscribe to `$aws/things/{thing}/jobs/notify-next`, then ask.",
    ),
    Reason(
        "not-asked",
        "The device has not asked for its jobs since it connected; AWS IoT does not repeat events.",
        _has_not_asked,
        "let the device send start-next or describe `$next` after each connect.",
    ),
)
"""Most likely first. They are independent: several can be true."""

OTHERWISE = (
    Reason(
        "not-rolled-out",
        "The job has no execution for this thing yet.",
        _is_rolled_out_later,
        "wait for the rollout. If a target is a thing group, the thing must belong to it, with "
        "targetSelection SNAPSHOT since before the job was created: `aws iot "
        "list-thing-groups-for-thing --thing-name {thing}` (it needs iot:ListThingGroupsForThing). "
        "Otherwise create a new job.",
    ),
    Reason(
        "event-ignored",
        "The device got the event of the job, and has not asked for its jobs since.",
        _has_ignored_the_event,
        "let the device send start-next or describe `$next` after each event.",
    ),
    Reason(
        "only-asked",
        "The device has asked for its jobs, and does not start this one.",
        _has_only_asked,
        "let the device start it with start-next, or with an update to IN_PROGRESS.",
    ),
    Reason(
        "not-started",
        "The device does not start the job.",
        _has_not_started,
        f"{_SEE_DEVICE}: is it connected and subscribed, and does it ask after each connect?",
    ),
    Reason(
        "not-reported",
        "The device has started the job, and has not reported for a while.",
        _has_not_reported,
        f"{_SEE_DEVICE}: it is still working, it hangs, or its last report was lost and must be "
        "sent again.",
    ),
    Reason(
        "healthy",
        "Nothing shows that the job is stuck.",
        _is_healthy,
        "`expect {job_id} SUCCEEDED 60` waits for its end.",
    ),
    Reason(
        "not-known",
        "What is known shows no reason.",
        _is_not_known,
        "allow what could not be asked, and run it again.",
    ),
)
"""If none of `REASONS` is true, the first of these that is."""


def findings(evidence: Evidence) -> list[dict[str, str]]:
    """The reasons that the evidence shows, most likely first; at least one."""
    shown = [(reason, reason.fact(evidence)) for reason in REASONS]
    found = [(reason, fact) for reason, fact in shown if fact]
    if not found:
        shown = [(reason, reason.fact(evidence)) for reason in OTHERWISE]
        found = [(reason, fact) for reason, fact in shown if fact][:1]
    names = {"job_id": evidence.job_id, "thing": evidence.thing}
    return [
        {
            "reason": reason.name,
            "meaning": reason.meaning,
            "fact": fact,
            "next": reason.next_step.format(**names),
        }
        for reason, fact in found
    ]
