"""The control plane's requests and answers, through botocore's real client, before a server that is scripted."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs_sandbox.control_plane.client import ControlPlane, load, new_client
from jobs_sandbox.core import protocols as planes
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import AlreadyExists, NotFound, RequestFailed
from jobs_sandbox.core.settings import Settings
from tests.support import servers
from tests.support.control import ARN, NOT_FOUND, NOW, Answer, Control, Request, refusal
from tests.unit.control_plane.conftest import SETTINGS, Connect

JOB_ARN = f"{ARN}:job/Job1"
DENIED = refusal(403, "AccessDeniedException")
THROTTLED = refusal(400, "ThrottlingException")
HANG_UP = b""

OPERATIONS: dict[str, Callable[[ControlPlane], object]] = {
    "iot:DescribeThing": lambda plane: plane.ensure_thing(),
    "iot:CreateJob": lambda plane: plane.create_job("Job1", "{}"),
    "iot:CancelJob": lambda plane: plane.cancel_job("Job1", force=False),
    "iot:DeleteJob": lambda plane: plane.delete_job("Job1"),
    "iot:DescribeJobExecution": lambda plane: plane.describe_job_execution("Job1"),
}
CHANGING = ["iot:CreateJob", "iot:CancelJob", "iot:DeleteJob"]


def failure(plane: ControlPlane, action: str) -> RequestFailed:
    """How an operation fails."""
    with pytest.raises(RequestFailed) as caught:
        OPERATIONS[action](plane)
    return caught.value


# The thing


def test_thing_exists(plane: ControlPlane, service: Control) -> None:
    """A thing that exists is left as it is."""
    assert plane.ensure_thing() is False
    assert [(it.method, it.kind, it.name) for it in service.requests] == [("GET", "things", "T")]


def test_thing_is_created(connect: Connect, service: Control) -> None:
    """A thing that is not found is created, said to be, and then the jobs' target."""
    plane = connect(thing="New")
    assert plane.ensure_thing() is True
    assert service.things == {"T", "New"}
    plane.create_job("Job1", "{}")
    assert service.jobs == {"Job1": {"New": "QUEUED"}}


@pytest.mark.parametrize(
    "answer", [DENIED, THROTTLED, refusal(500, "InternalFailureException"), Answer(404)]
)
def test_only_not_found_means_missing(
    plane: ControlPlane, service: Control, answer: Answer
) -> None:
    """A thing that cannot be described for another reason is not created."""
    service.script(answer)
    assert failure(plane, "iot:DescribeThing").message.startswith("iot:DescribeThing failed: ")
    assert {it.method for it in service.requests} == {"GET"}


def test_thing_cannot_be_created(plane: ControlPlane, service: Control) -> None:
    """A refused CreateThing names that permission."""
    service.script(NOT_FOUND, DENIED)
    assert "iot:CreateThing" in failure(plane, "iot:DescribeThing").cause


# Jobs


@pytest.mark.parametrize("document", ['{"Todo":"Reboot"}', ' {"a" :\t"é"}  '])
def test_create_job(plane: ControlPlane, service: Control, document: str) -> None:
    """CreateJob targets the thing once (SNAPSHOT) and carries the document as it is."""
    answer = plane.create_job("Job1", document)
    assert answer == Block(
        "CreateJobOutput", {"description": None, "jobArn": JOB_ARN, "jobId": "Job1"}
    )
    (request,) = service.requests
    assert (request.method, request.kind, request.name) == ("PUT", "jobs", "Job1")
    assert request.body == {
        "targets": [f"{ARN}:thing/T"],
        "document": document,
        "targetSelection": "SNAPSHOT",
    }


@pytest.mark.parametrize("action", ["iot:CreateJob", "iot:CancelJob"])
def test_description(plane: ControlPlane, service: Control, action: str) -> None:
    """A description that the service sends is shown."""
    service.script(Answer(200, {"jobArn": JOB_ARN, "jobId": "Job1", "description": "d"}))
    block = OPERATIONS[action](plane)
    assert isinstance(block, Block)
    assert block.body == {"description": "d", "jobArn": JOB_ARN, "jobId": "Job1"}


@pytest.mark.parametrize(("force", "left"), [(False, "IN_PROGRESS"), (True, "CANCELED")])
def test_cancel_job(plane: ControlPlane, service: Control, force: bool, left: str) -> None:  # noqa: FBT001 - a parameter
    """CancelJob ends what is queued, and what is in progress only if it is forced."""
    service.jobs["Job1"] = {"T": "IN_PROGRESS", "Other": "QUEUED"}
    answer = plane.cancel_job("Job1", force=force)
    assert answer == Block(
        "CancelJobOutput", {"description": None, "jobArn": JOB_ARN, "jobId": "Job1"}
    )
    assert service.jobs["Job1"] == {"T": left, "Other": "CANCELED"}


def test_delete_job(plane: ControlPlane, service: Control) -> None:
    """DeleteJob never forces."""
    service.jobs["Job1"] = {"T": "SUCCEEDED"}
    assert plane.delete_job("Job1") == Block("DeleteJobOutput", {"jobId": "Job1"})
    assert (service.jobs, service.requests[0].query) == ({}, {})


def test_describe_job_execution(plane: ControlPlane, service: Control) -> None:
    """DescribeJobExecution shows the service's own JSON: epoch seconds with their fraction, and every field."""
    service.jobs["Job1"] = {"T": "QUEUED"}
    block = plane.describe_job_execution("Job1")
    assert block.title == "DescribeJobExecutionOutput"
    assert block.body is not None
    assert (block.body["status"], block.body["queuedAt"]) == ("QUEUED", NOW)
    assert block.body["statusDetails"] == {"detailsMap": {"step": "1"}}
    service.script(
        Answer(200, {"execution": {"status": "QUEUED", "queuedAt": "soon", "odd": [1]}, "more": 1})
    )
    assert plane.describe_job_execution("Job1").body == {
        "status": "QUEUED",
        "queuedAt": "soon",
        "odd": [1],
    }


@pytest.mark.parametrize("action", ["iot:CancelJob", "iot:DeleteJob", "iot:DescribeJobExecution"])
def test_not_found(plane: ControlPlane, action: str) -> None:
    """What the service does not know, or not yet, is told apart from every other failure."""
    error = failure(plane, action)
    assert isinstance(error, NotFound)
    assert error.message == f"{action} failed: ResourceNotFoundException: no"
    assert "it has been deleted" in error.cause
    assert "get-pending-job-executions" in error.next_step
    assert not error.uncertain


def test_already_exists(plane: ControlPlane) -> None:
    """A job that existed before is named, and nothing about it is unknown."""
    plane.create_job("Job1", "{}")
    error = failure(plane, "iot:CreateJob")
    assert isinstance(error, AlreadyExists)
    assert error.message == "iot:CreateJob failed: ResourceAlreadyExistsException: no"
    assert not error.uncertain


# Retries


@pytest.mark.parametrize("action", CHANGING)
@pytest.mark.parametrize(
    ("first", "uncertain"),
    [(HANG_UP, True), (Answer(500), True), (Answer(502), True), (THROTTLED, False)],
    ids=["cut", "500", "502", "throttled"],
)
def test_an_earlier_attempt(
    plane: ControlPlane,
    service: Control,
    action: str,
    first: Answer | bytes,
    uncertain: bool,  # noqa: FBT001 - a parameter
) -> None:
    """Whatever the second attempt meets, the first may have been carried out, unless it was refused."""
    service.script(first, DENIED)
    error = failure(plane, action)
    assert len(service.requests) == 2
    assert "AccessDenied" in error.message
    assert error.uncertain is uncertain


@pytest.mark.parametrize("action", ["iot:CancelJob", "iot:DeleteJob"])
def test_not_found_by_the_second_attempt(
    plane: ControlPlane, service: Control, action: str
) -> None:
    """A job that a second attempt does not find may have been deleted by the first."""
    service.script(HANG_UP, NOT_FOUND)
    error = failure(plane, action)
    assert isinstance(error, NotFound)
    assert error.uncertain


def test_a_retry_succeeds(plane: ControlPlane, service: Control) -> None:
    """One lost attempt costs nothing."""
    service.script(HANG_UP, Answer(200, {"jobArn": JOB_ARN}))
    assert plane.create_job("Job1", "{}").body == {
        "description": None,
        "jobArn": JOB_ARN,
        "jobId": "Job1",
    }


def test_two_attempts_and_no_more(plane: ControlPlane, service: Control) -> None:
    """An operation that fails twice has failed; what was lost twice may have been carried out."""
    service.script(HANG_UP)
    error = failure(plane, "iot:DeleteJob")
    assert len(service.requests) == 2
    assert error.uncertain


def test_a_question_that_may_be_asked_again(plane: ControlPlane, service: Control) -> None:
    """A question whose answer is lost has no outcome, but is told apart from one that was refused."""
    service.script(HANG_UP)
    error = failure(plane, "iot:DescribeJobExecution")
    assert error.uncertain
    assert "outcome" not in error.message
    service.script(DENIED)
    assert not failure(plane, "iot:DescribeJobExecution").uncertain


def test_an_attempt_that_never_left(connect: Connect) -> None:
    """An operation that no attempt could deliver has failed, and nothing about it is unknown."""
    with servers.closed_port() as port:
        error = failure(connect(f"http://127.0.0.1:{port}"), "iot:DeleteJob")
    assert "cannot be reached" in error.message
    assert not error.uncertain


def test_calls_at_the_same_time(plane: ControlPlane, service: Control) -> None:
    """Calls on several threads do not mix up their attempts and their answers."""
    both_are_under_way = threading.Barrier(2)
    seen: set[str] = set()

    def answer(request: Request) -> Answer | bytes:
        if request.name not in seen:
            seen.add(request.name)
            both_are_under_way.wait(10)
            if request.name == "Lost":
                return HANG_UP
        return refusal(403, "AccessDeniedException", request.name)

    service.answer = answer
    with ThreadPoolExecutor(2) as threads:
        lost, kept = (threads.submit(plane.delete_job, name) for name in ("Lost", "Kept"))
        errors = [it.exception() for it in (lost, kept)]
    told = [
        (error.message, error.uncertain) for error in errors if isinstance(error, RequestFailed)
    ]
    said = "iot:DeleteJob failed: AccessDeniedException: "
    assert told == [(f"{said}Lost", True), (f"{said}Kept", False)]


# The client


def test_what_the_session_needs() -> None:
    """It is the control plane that the commands and the session know."""
    made: Callable[[Settings], planes.ControlPlane] = ControlPlane
    assert made is ControlPlane


def test_client_gives_up_in_time() -> None:
    """A client tries twice, and no attempt is silent for longer than the timeout."""
    config = new_client(
        "iot", region="eu-west-1", endpoint_url="http://127.0.0.1:9", timeout=7
    ).meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 7)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.region_name == "eu-west-1"
    assert new_client("iot", region="eu-west-1", timeout=1).meta.config.connect_timeout == 1


@pytest.mark.usefixtures("fresh")
def test_what_is_loaded_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `load`, a client is made without another look at botocore's files."""
    load("us-east-1")
    monkeypatch.setattr(
        "botocore.loaders.JSONFileLoader.load_file", lambda *_: pytest.fail("a file is read")
    )
    assert new_client("iot", region="us-east-1").meta.region_name == "us-east-1"


@pytest.mark.usefixtures("fresh")
def test_unknown_profile() -> None:
    """A profile that does not exist is named before anything is sent."""
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(SETTINGS._replace(profile="nobody"))
    assert "(nobody)" in caught.value.message
    assert "aws configure list-profiles" in caught.value.next_step


def test_wrong_endpoint_url() -> None:
    """An endpoint URL that is none is refused with boto3's words."""
    with pytest.raises(
        RequestFailed, match="the control plane client failed: Invalid endpoint: not a url"
    ):
        ControlPlane(SETTINGS._replace(endpoint_url="not a url"))


def test_configuration_that_cannot_be_read(fresh: Path) -> None:
    """A ~/.aws/config that is none is named."""
    fresh.write_text("nonsense")
    with pytest.raises(RequestFailed, match=f"Unable to parse config file: {fresh}"):
        ControlPlane(SETTINGS)


# Codes of multi-factor devices

KEYS_IN_CONFIG = (
    "[profile keys]\naws_access_key_id=AKIAIOSFODNN7EXAMPLE\naws_secret_access_key=secret\n"
)
ROLE = "role_arn=arn:aws:iam::000000000000:role/R\n"
MFA = "mfa_serial=arn:aws:iam::000000000000:mfa/me\n"


@pytest.mark.parametrize(
    "profiles",
    [
        f"[profile mfa]\n{ROLE}{MFA}source_profile=keys\n",
        f"[profile mfa]\n{ROLE}source_profile=middle\n[profile middle]\n{ROLE}{MFA}source_profile=keys\n",
    ],
    ids=["profile", "its source"],
)
@pytest.mark.parametrize("named_by", ["--profile", "AWS_PROFILE"])
def test_profile_with_mfa_serial(
    fresh: Path,
    connect: Connect,
    service: Control,
    monkeypatch: pytest.MonkeyPatch,
    *,
    profiles: str,
    named_by: str,
) -> None:
    """Credentials that need a code are refused at once, with what to do; nobody is asked, and nothing is sent."""
    fresh.write_text(KEYS_IN_CONFIG + profiles)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.url)
    if named_by == "AWS_PROFILE":
        monkeypatch.setenv("AWS_PROFILE", "mfa")
    error = failure(
        connect(profile="mfa" if named_by == "--profile" else None), "iot:DescribeThing"
    )
    assert "arn:aws:iam::000000000000:mfa/me" in error.message
    assert error.cause == "the profile, or its source_profile, has an mfa_serial"
    for way in ("aws configure export-credentials", "aws sts get-session-token", "aws sso login"):
        assert way in error.next_step
    assert not error.uncertain
    assert service.requests == []


def test_keys_before_the_profile(
    fresh: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that were exported count before a profile of AWS_PROFILE that would need a code: the way that is named."""
    fresh.write_text(f"{KEYS_IN_CONFIG}[profile mfa]\n{ROLE}{MFA}source_profile=keys\n")
    for name, value in {
        "AWS_PROFILE": "mfa",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    assert connect().ensure_thing() is False
