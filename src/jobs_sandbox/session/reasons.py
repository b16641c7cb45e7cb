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

Fields = Mapping[str, Any]

QUIET = 30.0
"""Seconds after which a device that has done nothing for an execution is worth a finding."""

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
    def clients(self) -> list[Fields]:
        """The clients with which the device has been connected."""
        clients: list[Fields] = (self.activity or {}).get("clients", [])
        return [client for client in clients if client["since"]]

    @property
    def connected(self) -> list[Fields]:
        """The clients with which it is connected now."""
        return [client for client in self.clients if client["connected"]]

    def logged(self, *what: str, since: float = 0) -> list[Fields]:
        """The entries of these kinds in the log of the device, the last one first."""
        log: list[Fields] = (self.activity or {}).get("log", [])
        return [entry for entry in log[::-1] if entry["what"] in what and entry["time"] >= since]

    def at(self, seconds: Any) -> str:
        """A time, and how long ago it was."""
        if not isinstance(seconds, int | float):
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


def _was_completed_without(evidence: Evidence) -> str:
    is_so = evidence.job_status == "COMPLETED" and evidence.execution == {}
    return f"{_job(evidence)}; this thing has no execution of it" if is_so else ""


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
        fact += f"; {made} executions so far, targets {targets}, jobExecutionsRolloutConfig {rate}"
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
    return _end(evidence) if evidence.status == status else ""


def _end(evidence: Evidence) -> str:
    execution = evidence.execution or {}
    ended = evidence.at(execution.get("lastUpdatedAt"))
    return f"its execution is {evidence.status} since {ended}{_details(execution)}"


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
    for entry in evidence.logged("refused", since=since):
        resource = entry["resource"].split(":", 5)[-1]
        # Also of another thing: a device may use the wrong name.
        if entry["action"] == "iot:Connect" or "/jobs/" in resource:
            return f"{entry['action']} on {resource} was refused at {evidence.at(entry['time'])}"
    return ""


def _has_the_wrong_version(evidence: Evidence) -> str:
    return _rejection(evidence, versions=True)


def _is_rejected(evidence: Evidence) -> str:
    return _rejection(evidence, versions=False)


def _rejection(evidence: Evidence, *, versions: bool) -> str:
    """The last response to the device about this job, if it is a rejection."""
    responses = [
        entry
        for entry in evidence.logged("response", since=evidence.queued_at)
        if entry.get("job_id") == evidence.job_id
    ]
    last = responses[0] if responses else {}
    if evidence.status not in PENDING or last.get("outcome") != "rejected":
        return ""
    if (last.get("code") == "VersionMismatch") is not versions:
        return ""
    return (
        f"its {last['operation']} was rejected at {evidence.at(last['time'])}: "
        f"{last.get('code')}: {last.get('message')}"
    )


def _is_taken_over(evidence: Evidence) -> str:
    if evidence.status not in PENDING:
        return ""
    if evidence.connectivity.get("disconnectReason") == "DUPLICATE_CLIENTID":
        return _connectivity(evidence)
    ends = evidence.logged("disconnect", since=evidence.queued_at)
    ends = [entry for entry in ends if entry["reason"] == "DUPLICATE_CLIENTID"]
    # One is a device whose earlier connection was not closed.
    if len(ends) < 2:  # noqa: PLR2004
        return ""
    last = evidence.at(ends[0]["time"])
    return f"{len(ends)} times since it was queued, the last at {last}: DUPLICATE_CLIENTID"


def _is_not_connected(evidence: Evidence) -> str:
    if evidence.status not in PENDING or evidence.connected:
        return ""
    if evidence.connectivity:
        return "" if evidence.connectivity["connected"] else _connectivity(evidence)
    if evidence.clients:
        since = max(client["since"] for client in evidence.clients)
        reasons = [entry["reason"] for entry in evidence.logged("disconnect")]
        return f"it was disconnected at {evidence.at(since)}: {', '.join(reasons[:1])}"
    # Without a device of its own, the execution may have been started at the prompt.
    if evidence.activity is None or evidence.status == "IN_PROGRESS":
        return ""
    return "no client has connected with the certificate of the device"


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
    if evidence.status != "QUEUED" or not evidence.connected or asked:
        return ""
    filters = [name for client in evidence.connected for name in client["subscriptions"]]
    topics = [f"$aws/things/{evidence.thing}/jobs/{TOPICS[title]}" for title in EVENTS]
    if any(_matches(name, topic) for name in filters for topic in topics):
        return ""
    return f"it has subscribed to {', '.join(filters) or 'nothing'}, and not asked since"


def _matches(name: str, topic: str) -> bool:
    """Whether a topic filter matches a topic."""
    pattern = re.escape(name).replace(r"\+", "[^/]+").replace(r"\#", ".*")
    return re.fullmatch(pattern, topic) is not None


def _has_not_asked(evidence: Evidence) -> str:
    if evidence.status not in PENDING:
        return ""
    changed = (evidence.execution or {}).get("lastUpdatedAt", 0)
    since = max((client["since"] for client in evidence.connected), default=0)
    if evidence.connectivity.get("connected"):
        since = evidence.connectivity.get("timestamp", 0)
    if since <= changed or evidence.logged("request", "event", since=since):
        return ""
    # A device that is at work need not ask at once.
    if evidence.status == "IN_PROGRESS" and evidence.now - since < QUIET:
        return ""
    return f"it connected at {evidence.at(since)}, after the last change of the execution"


# If nothing else is found


def _has_not_started(evidence: Evidence) -> str:
    if evidence.status != "QUEUED" or evidence.now - evidence.queued_at < QUIET:
        return ""
    return f"QUEUED since {evidence.at(evidence.queued_at)}{_last_request(evidence)}"


def _has_not_reported(evidence: Evidence) -> str:
    execution = evidence.execution or {}
    quiet = evidence.now - execution.get("lastUpdatedAt", 0) >= QUIET
    return _progress(evidence) if evidence.status == "IN_PROGRESS" and quiet else ""


def _is_healthy(evidence: Evidence) -> str:
    if evidence.status == "QUEUED":
        return f"QUEUED since {evidence.at(evidence.queued_at)}{_last_request(evidence)}"
    return _progress(evidence) if evidence.status == "IN_PROGRESS" else ""


def _is_not_known(_: Evidence) -> str:
    return "the execution is not known"


def _progress(evidence: Evidence) -> str:
    """How far an execution in progress is."""
    execution = evidence.execution or {}
    fact = f"IN_PROGRESS since {evidence.at(execution.get('startedAt'))}"
    # A queued execution has version 1, and the start makes it 2.
    if execution.get("versionNumber", 0) > 2:  # noqa: PLR2004
        fact += f", last report at {evidence.at(execution.get('lastUpdatedAt'))}"
    else:
        fact += ", and no report since"
    fact += f", versionNumber {execution.get('versionNumber')}{_details(execution)}"
    if "approximateSecondsBeforeTimedOut" in execution:
        fact += f"; it times out in {execution['approximateSecondsBeforeTimedOut']} s"
    return fact + _last_request(evidence)


def _last_request(evidence: Evidence) -> str:
    requests = evidence.logged("request")
    if not requests:
        return ""
    last = requests[0]
    name = " ".join(filter(None, [last["operation"], last.get("job_id"), last.get("status")]))
    return f"; the last request of the device: {name} at {evidence.at(last['time'])}"


_NEW_JOB = "an execution that has ended cannot change: create a new job."
_SEE_DEVICE = "see what the device prints"

REASONS = (
    Reason(
        "no-such-job",
        "There is no such job.",
        _has_no_job,
        "check the job id, the region and the account; `aws iot list-jobs` lists the jobs.",
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
        _has_the_wrong_version,
        "let the device take versionNumber from the last response, or leave expectedVersion out.",
    ),
    Reason(
        "rejected",
        "AWS IoT rejected the last request of the device for this job.",
        _is_rejected,
        f"{_SEE_DEVICE}, and correct the request.",
    ),
    Reason(
        "taken-over",
        "Another client connects with the client id of the device, and ends its connection.",
        _is_taken_over,
        "give each client a client id of its own.",
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
        "wait for the rollout; if a target is a thing group, check that the thing belongs to it: "
        "`aws iot list-thing-groups-for-thing --thing-name {thing}`.",
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
