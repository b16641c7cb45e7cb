"""`diagnose-job`: which evidence shows which reason, and how the evidence is found."""

import threading
from typing import Any

import pytest

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import NotFound, RequestFailed
from jobs_sandbox.core.settings import new_client_id
from jobs_sandbox.session import diagnosis
from jobs_sandbox.session.reasons import OTHERWISE, REASONS, Evidence, findings
from tests.unit.commands.fakes import FakeDevice
from tests.unit.fakes import SETTINGS, FakeRun, FakeService

Known = dict[str, Any]

NOW = 1_700_000_000.0
LATER = NOW - 1
JOB = {"status": "IN_PROGRESS", "targets": ["arn:aws:iot:r:0:thing/T"]}
SCHEDULED = JOB | {"status": "SCHEDULED"}
QUEUED = {"status": "QUEUED", "queuedAt": NOW - 5, "lastUpdatedAt": NOW - 5, "versionNumber": 1}
STARTED = {
    "status": "IN_PROGRESS",
    "queuedAt": NOW - 90,
    "startedAt": NOW - 80,
    "lastUpdatedAt": NOW - 80,
    "versionNumber": 2,
}
FRONT = {"jobId": "First", "status": "IN_PROGRESS", "queuedAt": NOW - 60, "startedAt": NOW - 50}
NOTIFY_NEXT = "$aws/things/T/jobs/notify-next"
OFF = {"connected": False, "timestamp": NOW - 7, "disconnectReason": "CONNECTION_LOST"}


def without_execution(**job: Any) -> Known:
    """A job of which the thing has no execution."""
    return {"job": JOB | job, "execution": {}}


def ended(status: str, **fields: Any) -> Known:
    details = {"detailsMap": {"step": "é"}}
    return {"execution": STARTED | {"status": status, "statusDetails": details} | fields}


def client(client_id: str = "D", **state: Any) -> Known:
    """A client that is connected and subscribed, unless ``state`` says otherwise."""
    return {
        "client_id": client_id,
        "connected": True,
        "since": NOW - 600,
        "subscriptions": [NOTIFY_NEXT],
        "unacknowledged": 0,
    } | state


def entry(what: str, time: float = LATER, **fields: Any) -> Known:
    return {"time": time, "client_id": "D", "what": what} | fields


def device(*log: Known, **state: Any) -> Known:
    """A device that is connected and subscribed, unless ``state`` says otherwise."""
    return {"activity": {"clients": [client(**state)], "log": list(log)}}


def response(code: str = "", **fields: Any) -> Known:
    """The response to an update of the job J; a rejection, if it has a code."""
    answer = {"operation": "update", "job_id": "J", "outcome": "accepted"}
    rejection = {"outcome": "rejected", "code": code, "message": "no"} if code else {}
    return entry("response") | answer | rejection | fields


def refused(action: str, resource: str) -> Known:
    return entry("refused", action=action, resource=f"arn:aws:iot:r:0:{resource}")


UPDATE_REFUSED = refused("iot:Publish", "topic/$aws/things/T/jobs/J/update")
CONNECT_REFUSED = refused("iot:Connect", "client/x")
CONNECTED = entry("connack", code=0)
SUBSCRIPTION_REFUSED = refused("iot:Subscribe", "topicfilter/$aws/things/T/jobs/get/accepted")
TAKEN = entry("disconnect", reason="DUPLICATE_CLIENTID")
EVENT = entry("event", NOW - 40, name="notify-next")
ASKED_BEFORE = entry("request", NOW - 50, operation="start-next")
WAITING = QUEUED | {"queuedAt": NOW - 45}
RETRIES = {
    "jobExecutionsRetryConfig": {
        "criteriaList": [
            {"failureType": "FAILED", "numberOfRetries": 3},
            {"failureType": "TIMED_OUT", "numberOfRetries": 1},
        ]
    }
}
LOST = entry("disconnect", reason="CONNECTION_LOST")
ASKED = entry("request", operation="update", job_id="J", status="SUCCEEDED")


@pytest.mark.parametrize(
    ("reason", "fact", "known"),
    [
        # The job
        ("no-such-job", "no such job", {"job": {}, "execution": {}}),
        ("being-deleted", "DELETION", without_execution(status="DELETION_IN_PROGRESS")),
        ("not-a-target", "thing/Other", without_execution(targets=["arn:thing/Other"])),
        (
            "scheduled",
            "startTime 2030-01-01T10:00 UTC",
            without_execution(**SCHEDULED, schedulingConfig={"startTime": "2030-01-01T10:00"}),
        ),
        (
            "outside-window",
            'maintenanceWindows ["x"]',
            without_execution(**SCHEDULED, schedulingConfig={"maintenanceWindows": ["x"]}),
        ),
        ("canceled", "comment x", without_execution(status="CANCELED", comment="x")),
        (
            "execution-gone",
            "targets arn:aws:iot:r:0:thing/T",
            without_execution(status="COMPLETED"),
        ),
        (
            "completed-without",
            "targetSelection SNAPSHOT",
            without_execution(
                status="COMPLETED", targets=["arn:thinggroup/G"], targetSelection="SNAPSHOT"
            ),
        ),
        (
            "not-rolled-out",
            "executions so far: 3, targets arn:thinggroup/G, targetSelection SNAPSHOT,",
            without_execution(
                targets=["arn:thinggroup/G"],
                targetSelection="SNAPSHOT",
                jobProcessDetails={"numberOfQueuedThings": 3, "processingTargets": ["T"]},
            ),
        ),
        ("not-rolled-out", "finds no execution", {"job": None, "execution": {}}),
        # The execution
        ("succeeded", '{"step": "é"}', ended("SUCCEEDED")),
        ("failed", '{"step": "é"}', ended("FAILED")),
        ("retried", "attempt 2 of 4", ended("FAILED") | {"job": JOB | RETRIES}),
        (
            "timed-out",
            "(executionNumber 2, a retry)",
            ended("TIMED_OUT", executionNumber=2) | {"job": JOB | RETRIES},
        ),
        ("failed", "", ended("FAILED") | {"job": JOB | RETRIES | {"status": "CANCELED"}}),
        ("rejected-by-device", '{"step": "é"}', ended("REJECTED")),
        ("timed-out", '{"step": "é"}', ended("TIMED_OUT")),
        ("removed", '{"step": "é"}', ended("REMOVED")),
        ("canceled", '{"step": "é"}', ended("CANCELED")),
        ("canceled", "the status of the job is not known", ended("CANCELED") | {"job": None}),
        (
            "canceled-without-force",
            "forceCanceled false",
            {"job": JOB | {"status": "CANCELED", "forceCanceled": False}, "execution": STARTED},
        ),
        ("behind", "1 in front, first First: IN_PROGRESS since", {"in_front": [FRONT]}),
        (
            "behind-another-namespace",
            "namespaceId green",
            {"in_front": [FRONT], "namespace": "green"},
        ),
        # The device, as the embedded AWS IoT sees it
        (
            "refused-by-policy",
            "iot:Publish of client D on topic/$aws/things/T/jobs/J/update was refused at",
            {"execution": STARTED} | device(CONNECTED, UPDATE_REFUSED),
        ),
        (
            "refused-by-policy",
            "iot:Subscribe of client D on topicfilter/$aws/things/t/jobs/notify",
            device(refused("iot:Subscribe", "topicfilter/$aws/things/t/jobs/notify")),
        ),
        ("refused-by-policy", "iot:Connect of", device(CONNECT_REFUSED, connected=False)),
        # The subscription to responses is not needed.
        ("refused-by-policy", "/update", device(UPDATE_REFUSED, SUBSCRIPTION_REFUSED)),
        # The device starts the job each time that it connects, and cannot report.
        (
            "refused-by-policy",
            "/update",
            device(UPDATE_REFUSED, response(operation="start-next", time=NOW)),
        ),
        ("version-mismatch", "VersionMismatch: no", device(response("VersionMismatch"))),
        ("version-mismatch", "", device(response("VersionMismatch"), response(operation="get"))),
        ("rejected-for-now", "update J of client D", device(response("RequestThrottled"))),
        (
            "rejected-for-now",
            "start-next of client D",
            device(response("InternalError", operation="start-next", job_id=None)),
        ),
        ("rejected", "was rejected at", device(response(), response("InvalidRequest"))),
        ("rejected", "update J11", device(response("ResourceNotFound", job_id="J11"))),
        ("taken-over", "2 times", device(TAKEN, TAKEN)),
        (
            "taken-over",
            "2 times",
            device(*[TAKEN | {"time": NOW - 70}] * 2, connected=False) | {"execution": STARTED},
        ),
        (
            "device-ended",
            "exit status 3",
            device(LOST, connected=False) | {"absence": "it has ended: exit status 3"},
        ),
        ("not-connected", "no client", {"activity": {"clients": [], "log": []}}),
        ("not-connected", "CONNECTION_LOST", device(LOST, connected=False)),
        ("not-subscribed", "jobs/+/get/#", device(subscriptions=["$aws/things/T/jobs/+/get/#"])),
        ("not-asked", "(3 s ago)", device(since=NOW - 3)),
        ("not-asked", "(40 s ago)", {"execution": STARTED} | device(since=NOW - 40)),
        # The device, as fleet indexing sees it
        ("not-connected", "disconnectReason CONNECTION_LOST", {"connectivity": OFF}),
        ("not-connected", "not connected, dis", {"connectivity": {"connected": False}}),
        (
            "taken-over",
            "DUPLICATE_CLIENTID",
            {"connectivity": OFF | {"disconnectReason": "DUPLICATE_CLIENTID"}},
        ),
        # None of these
        ("not-started", "(1 h ago)", {"execution": QUEUED | {"queuedAt": NOW - 3600}}),
        # Fleet indexing does not know whether the device asked.
        (
            "not-started",
            "connected since",
            {"execution": WAITING, "connectivity": {"connected": True, "timestamp": LATER}},
        ),
        (
            "not-started",
            "client D is connected since",
            {"execution": WAITING} | device(ASKED_BEFORE),
        ),
        (
            "event-ignored",
            "the last event: notify-next at",
            {"execution": WAITING} | device(ASKED_BEFORE, EVENT),
        ),
        (
            "event-ignored",
            "messages without PUBACK: 1; the device has asked for nothing",
            {"execution": WAITING} | device(EVENT, unacknowledged=1),
        ),
        (
            "only-asked",
            "start-next of client D at",
            {"execution": WAITING} | device(EVENT, ASKED_BEFORE | {"time": LATER}),
        ),
        ("not-reported", "no report since, versionNumber 2", {"execution": STARTED}),
        ("not-reported", "last report at", {"execution": STARTED | {"versionNumber": 3}}),
        ("not-reported", "since an unknown time", {"execution": {"status": "IN_PROGRESS"}}),
        ("not-known", "not known", {"execution": None}),
        ("healthy", "QUEUED since", {}),
        (
            "healthy",
            "QUEUED (executionNumber 2, a retry) since",
            {"job": JOB | RETRIES, "execution": QUEUED | {"executionNumber": 2}},
        ),
        # The grace of a device that has just connected.
        ("healthy", "(1 s ago), subscribed to no event", device(since=LATER, subscriptions=[])),
        (
            "not-reported",
            "knows the client id T alone: not connected",
            {
                "execution": STARTED,
                "connectivity": OFF | {"timestamp": NOW - 600},
            },
        ),
        (
            "healthy",
            "the last request: update J SUCCEEDED of client D at",
            {
                "execution": STARTED
                | {"lastUpdatedAt": NOW, "approximateSecondsBeforeTimedOut": 9},
            }
            | device(ASKED),
        ),
        ("healthy", "IN_PROGRESS", {"execution": STARTED | {"lastUpdatedAt": NOW - 29}}),
    ],
)
def test_reasons(reason: str, fact: str, known: Known) -> None:
    """Each reason comes first where it is the reason, with the fact that shows it."""
    [first, *_] = found(known)
    assert first["reason"] == reason
    assert fact in first["fact"]
    assert "{" not in first["next"]


@pytest.mark.parametrize(
    "known",
    [
        # Refused before the policy was corrected and the device connected again, or elsewhere.
        device(UPDATE_REFUSED, CONNECTED | {"time": NOW}),
        device(CONNECTED, refused("iot:Publish", "topic/other")),
        device(UPDATE_REFUSED, response(time=NOW)),
        device(SUBSCRIPTION_REFUSED, response(operation="start-next", time=NOW)),
        device(response("VersionMismatch"), response()),
        device(response("ResourceNotFound", job_id="J11"), response()),
        # Of an execution with the same job id, before; of another job.
        device(response("VersionMismatch", time=NOW - 60)),
        device(response("VersionMismatch", job_id="Other")),
        # It polls; its earlier connection was left open; it got the events of its old session.
        device(ASKED, subscriptions=[]),
        device(TAKEN),
        {
            "connectivity": {
                "connected": True,
                "timestamp": NOW - 70,
                "disconnectReason": "DUPLICATE_CLIENTID",
            }
        },
        # The device is connected again, for more than a minute.
        device(*[TAKEN | {"time": NOW - 70}] * 2)
        | {"execution": STARTED | {"lastUpdatedAt": NOW - 20}},
        device(entry("event", name="notify"), since=NOW - 4),
        device(subscriptions=["$aws/things/T/jobs/#"]),
        device(subscriptions=["$aws/things/+/jobs/notify"]),
        {"execution": STARTED | {"lastUpdatedAt": NOW - 20}} | device(since=LATER),
        # Both are in progress; neither is in front.
        {
            "execution": STARTED | {"lastUpdatedAt": NOW},
            "in_front": [FRONT],
            "namespace": "green",
        },
        # Started at the prompt: no device is needed.
        {
            "execution": STARTED | {"lastUpdatedAt": NOW},
            "activity": {"clients": [client(connected=False, since=None)], "log": []},
        },
        {"connectivity": {"connected": True, "timestamp": NOW - 600, "disconnectReason": "NONE"}},
    ],
)
def test_no_reason(known: Known) -> None:
    """A job that goes on well gets a clean bill."""
    assert [finding["reason"] for finding in found(known)] == ["healthy"]


def found(known: Known) -> list[dict[str, str]]:
    """The findings about a job whose execution was queued a moment ago, except for ``known``."""
    given: Known = {"job": JOB, "execution": QUEUED} | known
    return findings(Evidence(job_id="J", thing="T", now=NOW, **given))


def test_several_reasons() -> None:
    """Reasons that are independent are all found, the most likely first; a name stands once."""
    shown = found({"in_front": [FRONT]} | device(LOST, connected=False))
    assert [finding["reason"] for finding in shown] == ["behind", "not-connected"]
    shown = found(ended("SUCCEEDED") | {"job": JOB | {"status": "CANCELED"}})
    assert [finding["reason"] for finding in shown] == ["succeeded"]
    names = [reason.name for reason in REASONS + OTHERWISE]
    assert len(names) == len(set(names))


# Questions


async def diagnose(
    run: FakeRun,
    service: FakeService | None = None,
    *,
    device: FakeDevice | None = None,
    seconds: float = 60,
) -> Known:
    settings = SETTINGS._replace(timeout=seconds)
    record = run.monitor.record
    block = await diagnosis.diagnose(run.control, service, device, settings, "J", record)
    assert block.title == blocks.DIAGNOSIS
    assert block.body is not None
    return block.body


def pending(job_id: str, status: str, queued_at: int) -> Known:
    return {"jobId": job_id, "status": status, "queuedAt": queued_at}


async def test_what_is_in_front(run: FakeRun) -> None:
    """Executions in progress are in front, then those queued earlier; later ones are not."""
    run.control.jobs = {"J": JOB, "B": JOB | {"namespaceId": "green"}, "A": JOB}
    run.control.pending = [
        pending("Late", "QUEUED", 9),
        pending("J", "QUEUED", 5),
        pending("A", "QUEUED", 1),
        pending("B", "IN_PROGRESS", 7),
    ]
    first = (await diagnose(run))["findings"][0]
    assert first["reason"] == "behind-another-namespace"
    assert first["fact"].startswith("2 in front, first B: IN_PROGRESS")
    run.control.jobs["B"] = JOB
    assert (await diagnose(run))["findings"][0]["reason"] == "behind"
    del run.control.pending[1]
    assert "behind" not in str(await diagnose(run))


async def test_what_cannot_be_asked(run: FakeRun) -> None:
    """A question that is refused is named with its cause, and the others count."""
    run.control.jobs = {"J": JOB}
    for message, cause, line in (
        ("iot:X failed: a long error", "it is off", "iot:X failed: it is off"),
        ("iot:X failed: an error", "", "iot:X failed: an error"),
    ):
        run.control.connectivity = RequestFailed(message, cause=cause)
        body = await diagnose(run)
        assert body["unknown"] == [line]
    assert body["findings"][0]["reason"] == "not-started"
    assert run.monitor.executions.statuses() == {"J": "QUEUED"}


async def test_a_question_without_an_answer(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that hangs is named after its share of the time-out, and the others count."""
    hangs = threading.Event()
    monkeypatch.setattr(run.control, "list_job_executions", lambda _: hangs.wait())
    run.control.jobs = {"J": JOB | {"status": "DELETION_IN_PROGRESS"}}
    body = await diagnose(run, seconds=1)
    hangs.set()
    assert body["findings"][0]["reason"] == "being-deleted"
    assert body["unknown"] == ["iot:ListJobExecutionsForThing: no answer within 0.4 s"]


async def test_answers_of_another_shape(run: FakeRun) -> None:
    """Fields of another type than AWS IoT gives them count as not known."""
    run.control.work = lambda: Block(
        blocks.JOB_EXECUTION, {"status": "IN_PROGRESS", "startedAt": "x", "lastUpdatedAt": -7}
    )
    run.control.jobs = {"J": {"jobId": "J", "status": 7, "targets": "all"}}
    run.control.pending = [{"jobId": "A", "status": "QUEUED", "queuedAt": "yesterday"}]
    run.control.connectivity = {"connected": "maybe", "timestamp": -1}
    [finding] = (await diagnose(run))["findings"]
    assert finding["reason"] == "not-reported"
    assert finding["fact"].startswith("IN_PROGRESS since an unknown time, and no report since")


async def test_a_prompt_that_joined(run: FakeRun) -> None:
    """With a device of its own, an idle prompt is not the device; one that works is."""
    run.control.jobs = {"J": JOB}
    service = FakeService()
    prompt = new_client_id()
    service.clients = [client(prompt), client("test-device-1", connected=False)]
    service.log = [LOST | {"client_id": "test-device-1"}]
    reasons = [
        finding["reason"]
        for device in (FakeDevice(), None)
        for finding in (await diagnose(run, service, device=device))["findings"]
    ]
    assert reasons == ["not-connected", "not-asked"]
    service.log.append(entry("request", operation="start-next") | {"client_id": prompt})
    [first] = (await diagnose(run, service, device=FakeDevice()))["findings"]
    assert f"client {prompt} is connected" in first["fact"]


async def test_no_execution(run: FakeRun) -> None:
    """A job without an execution for the thing, and no job at all, are found."""

    def no_execution() -> Block:
        raise NotFound("no execution")

    run.control.work = no_execution
    assert (await diagnose(run))["findings"][0]["reason"] == "no-such-job"
    run.control.jobs = {"J": JOB}
    assert (await diagnose(run))["findings"][0]["reason"] == "not-rolled-out"


async def test_nothing_can_be_asked(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """If neither the job nor its execution can be asked for, the command fails as others do."""

    def fail(*_: object) -> Any:
        raise RequestFailed("no credentials")

    monkeypatch.setattr(run.control, "describe_job", fail)
    run.control.work = fail
    with pytest.raises(RequestFailed, match="no credentials"):
        await diagnose(run)


async def test_the_embedded_aws_iot(run: FakeRun) -> None:
    """With --local, its own view of the device counts; fleet indexing is not asked."""
    run.control.jobs = {"J": JOB}
    run.control.connectivity = RequestFailed("not to be asked")
    body = await diagnose(run, FakeService())
    assert body["unknown"] == []
    assert body["findings"][0]["reason"] == "not-connected"
