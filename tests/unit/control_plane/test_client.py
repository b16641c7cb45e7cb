"""The control plane's requests and answers, through boto3's client, before a scripted server."""

from collections.abc import Callable

import pytest

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core import protocols
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import Unavailable
from tests.support.servers import endpoints
from tests.support.servers.control import ARN, NOW, Answer, Control, refusal
from tests.unit.control_plane.conftest import SETTINGS, Connect, failure

JOB_ARN = f"{ARN}:job/Job1"
DENIED = refusal(403, "AccessDeniedException")
UNKNOWN_OPERATION = {
    "Output": {"__type": "com.amazon.coral.service#UnknownOperationException"},
    "Version": "1.0",
}
OPERATIONS: dict[str, Callable[[protocols.ControlPlane], object]] = {
    "iot:DescribeThing": lambda plane: plane.ensure_thing(),
    "iot:CreateJob": lambda plane: plane.create_job("Job1", "{}"),
    "iot:CancelJob": lambda plane: plane.cancel_job("Job1", force=False),
    "iot:DeleteJob": lambda plane: plane.delete_job("Job1"),
    "iot:DescribeJobExecution": lambda plane: plane.describe_job_execution("Job1"),
    "iot:DescribeJob": lambda plane: plane.describe_job("Job1"),
    "iot:ListJobExecutionsForThing": lambda plane: plane.list_job_executions("QUEUED"),
    "iot:GetThingConnectivityData": lambda plane: plane.thing_connectivity(),
}


@pytest.fixture(scope="module")
def _plane(_service: Control) -> ControlPlane:
    return ControlPlane(SETTINGS._replace(endpoint_url=_service.url), print)


@pytest.fixture
def plane(_plane: ControlPlane, service: Control) -> ControlPlane:
    """A control plane before the service, made once: that takes a while."""
    return _plane


def test_thing_exists(plane: ControlPlane, service: Control) -> None:
    """A thing that exists is left as it is."""
    assert plane.ensure_thing() is False
    assert [(it.method, it.kind, it.name) for it in service.requests] == [("GET", "things", "T")]


def test_thing_is_created(connect: Connect, service: Control) -> None:
    """A thing that is not found is created, and is then the target of jobs."""
    plane = connect(thing="New")
    assert plane.ensure_thing() is True
    assert service.things == {"T", "New"}
    plane.create_job("Job1", "{}")
    assert service.jobs == {"Job1": {"New": "QUEUED"}}


@pytest.mark.parametrize("answer", [DENIED, refusal(500, "InternalFailureException"), Answer(404)])
def test_only_not_found_means_missing(
    plane: ControlPlane, service: Control, answer: Answer
) -> None:
    """A thing that cannot be described for another reason is not created."""
    service.script(answer)
    assert "iot:DescribeThing failed" in failure(plane.ensure_thing).message
    assert [it.method for it in service.requests] == ["GET"]


@pytest.mark.parametrize("document", ['{"Todo":"Reboot"}', ' {"a" :\t"é"}  '])
def test_create_job(plane: ControlPlane, service: Control, document: str) -> None:
    """CreateJob targets the thing once (SNAPSHOT) and carries the document as it is."""
    plane.ensure_thing()
    answer = plane.create_job("Job1", document, timeoutConfig={"inProgressTimeoutInMinutes": 1})
    body = {"description": None, "jobArn": JOB_ARN, "jobId": "Job1"}
    assert answer == Block("CreateJobOutput", body)
    assert service.requests[-1].body == {
        "targets": [f"{ARN}:thing/T"],
        "document": document,
        "targetSelection": "SNAPSHOT",
        "timeoutConfig": {"inProgressTimeoutInMinutes": 1},
    }


def test_a_wrong_field(plane: ControlPlane, service: Control) -> None:
    """An optional field with other contents than CreateJob has is not sent."""
    plane.ensure_thing()
    wrong = failure(lambda: plane.create_job("Job1", "{}", timeoutConfig={"minutes": 1}))
    assert "inProgressTimeoutInMinutes" in wrong.message
    assert "optional field" in wrong.cause
    assert "Job1" not in service.jobs


@pytest.mark.parametrize(("force", "left"), [(False, "IN_PROGRESS"), (True, "CANCELED")])
def test_cancel_job(plane: ControlPlane, service: Control, *, force: bool, left: str) -> None:
    """CancelJob ends what is queued, and what is in progress only if it is forced."""
    service.jobs["Job1"] = {"T": "IN_PROGRESS", "Other": "QUEUED"}
    body = {"description": None, "jobArn": JOB_ARN, "jobId": "Job1"}
    assert plane.cancel_job("Job1", force=force) == Block("CancelJobOutput", body)
    assert service.jobs["Job1"] == {"T": left, "Other": "CANCELED"}


def test_delete_job(plane: ControlPlane, service: Control) -> None:
    """DeleteJob never forces."""
    service.jobs["Job1"] = {"T": "SUCCEEDED"}
    assert plane.delete_job("Job1") == Block("DeleteJobOutput", {"jobId": "Job1"})
    assert (service.jobs, service.requests[0].query) == ({}, {})


def test_describe_job_execution(plane: ControlPlane, service: Control) -> None:
    """DescribeJobExecution shows the service's names and its times, whole and with fractions."""
    execution = {
        "jobId": "Job1",
        "status": "SUCCEEDED",
        "statusDetails": {"detailsMap": {"step": "1"}},
        "queuedAt": NOW,
        "startedAt": 1748981623,
        "approximateSecondsBeforeTimedOut": 5,
    }
    service.script(Answer(200, {"execution": execution}))
    block = plane.describe_job_execution("Job1")
    assert block == Block("DescribeJobExecutionOutput", execution)
    assert '"startedAt": 1748981623,' in str(block.body).replace("'", '"')


def test_describe_job(plane: ControlPlane, service: Control) -> None:
    """DescribeJob returns the job with the service's names."""
    job = {"jobId": "Job1", "status": "SCHEDULED", "targets": [f"{ARN}:thing/T"], "createdAt": NOW}
    service.script(Answer(200, {"job": job}))
    assert plane.describe_job("Job1") == job


def test_list_job_executions(plane: ControlPlane, service: Control) -> None:
    """ListJobExecutionsForThing returns one mapping for each execution; there may be none."""
    summary = {"status": "QUEUED", "queuedAt": NOW, "executionNumber": 1}
    answer = {"executionSummaries": [{"jobId": "Job1", "jobExecutionSummary": summary}]}
    service.script(Answer(200, answer), Answer(200, {"executionSummaries": []}))
    assert plane.list_job_executions("QUEUED") == [{"jobId": "Job1"} | summary]
    assert plane.list_job_executions("QUEUED") == []
    assert service.requests[0].query == {"status": "QUEUED", "maxResults": "250"}


def test_thing_connectivity(plane: ControlPlane, service: Control) -> None:
    """GetThingConnectivityData tells whether the thing is connected; without an index, why not."""
    connectivity = {"connected": False, "timestamp": NOW, "disconnectReason": "CONNECTION_LOST"}
    service.script(
        Answer(200, connectivity),
        refusal(400, "IndexNotReadyException"),
        refusal(404, "ResourceNotFoundException", "Thing not found"),
    )
    assert connectivity.items() <= plane.thing_connectivity().items()
    assert "fleet indexing" in failure(plane.thing_connectivity).cause
    assert "fleet indexing" not in failure(plane.thing_connectivity).cause


# Answers that are not AWS IoT's


@pytest.mark.parametrize("action", OPERATIONS)
@pytest.mark.parametrize(
    "body",
    [b"<html>Log in</html>", b"[]", b"\xff", UNKNOWN_OPERATION, {"execution": {"jobId": "Job1"}}],
    ids=["login page", "list", "no text", "unknown operation", "no ARN, no status"],
)
def test_odd_successes(plane: ControlPlane, service: Control, action: str, body: object) -> None:
    """A 200 that is not AWS IoT's is an error of unknown outcome; nothing is sent again."""
    service.script(Answer(200, body))
    error = failure(lambda: OPERATIONS[action](plane))
    assert error.message.startswith(
        f"{action}: the control plane answered, but not as AWS IoT does"
    )
    assert "a proxy or a login page" in error.cause
    assert error.uncertain
    assert not isinstance(error, Unavailable)
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(302, b""), (400, []), (403, {"message": None}), (403, b"\xff"), (502, b"<html>")],
)
def test_odd_refusals(plane: ControlPlane, service: Control, status: int, body: object) -> None:
    """Whatever the body of a refusal is, it is a failure with a cause or a next step."""
    service.script(Answer(status, body, {"Location": "http://127.0.0.1:9/"}))
    error = failure(lambda: plane.delete_job("Job1"))
    assert error.message.startswith("iot:DeleteJob")
    assert error.cause or error.next_step


@pytest.mark.parametrize("action", OPERATIONS)
@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"],
    ids=["nothing", "another protocol", "cut in the body"],
)
def test_lost_answers(plane: ControlPlane, service: Control, action: str, answer: bytes) -> None:
    """When an answer is lost, the outcome is unknown, and nothing is sent again."""
    service.script(answer)
    error = failure(lambda: OPERATIONS[action](plane))
    assert f"no answer from {service.url}" in error.message
    assert isinstance(error, Unavailable)
    assert error.uncertain
    assert len(service.requests) == 1


def test_silence(connect: Connect) -> None:
    """The caller bounds the wait, and then says what did not answer; boto3 itself waits longer."""
    with endpoints.serving(endpoints.silent) as port:
        plane = connect(f"http://127.0.0.1:{port}", timeout=0.1)
        assert "Read timeout" in failure(plane.ensure_thing).message
        error = plane.no_answer(0.1)
    assert error.message == f"http://127.0.0.1:{port} did not answer within 0.1 s"
    assert "--timeout" in error.next_step
    assert error.uncertain


def test_unreachable(connect: Connect) -> None:
    """An endpoint that cannot be reached is reported as that, and nothing was sent."""
    with endpoints.black_hole() as port:
        error = failure(connect(f"http://127.0.0.1:{port}", timeout=0.5).ensure_thing)
    assert "cannot be reached: Connect timeout" in error.message
    assert isinstance(error, Unavailable)
    assert not error.uncertain
