"""The control plane's requests, each checked against the service's own model, and its errors in words."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions as boto
from botocore.stub import Stubber

from jobs_sandbox.blocks import Block
from jobs_sandbox.control_plane.client import ControlPlane, new_client
from jobs_sandbox.errors import AlreadyExists, RequestFailed
from jobs_sandbox.settings import Settings
from tests.support import servers
from tests.support.servers import serving

ARN = "arn:aws:iot:us-east-1:000000000000:thing/T"
JOB_ARN = "arn:aws:iot:us-east-1:000000000000:job/Job1"
SETTINGS = Settings("endpoint", "cert", "key", "us-east-1", "T", "test-1")


@pytest.fixture(scope="module")
def client() -> Any:
    return new_client("iot", region="us-east-1", keys=("test", "test"))


@pytest.fixture
def stub(client: Any) -> Iterator[Any]:
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def control(client: Any, stub: Any) -> ControlPlane:
    """A control plane whose thing is known to exist."""
    stub.add_response("describe_thing", {"thingArn": ARN}, {"thingName": "T"})
    plane = ControlPlane(SETTINGS, client)
    assert not plane.ensure_thing()
    return plane


class Raising:
    """A client whose every operation ends the same way."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def delete_job(self, **_: object) -> None:
        raise self._error


def failure(error: Exception, settings: Settings = SETTINGS) -> RequestFailed:
    """What deleting a job says when boto3 raises ``error``."""
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(settings, Raising(error)).delete_job("Job1")
    assert caught.value.__cause__ is error
    return caught.value


def refusal(code: str, message: str = "no", status: int = 400, retries: int = 0) -> RequestFailed:
    """What deleting a job says when the service refuses it."""
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RetryAttempts": retries},
    }
    return failure(boto.ClientError(response, "DeleteJob"))


def test_thing_exists(client: Any, stub: Any) -> None:
    """A thing that exists is left as it is."""
    stub.add_response("describe_thing", {"thingArn": ARN}, {"thingName": "T"})
    assert ControlPlane(SETTINGS, client).ensure_thing() is False


def test_thing_is_created(client: Any, stub: Any) -> None:
    """A thing that is not found is created, said to be, and then the jobs' target."""
    stub.add_client_error("describe_thing", "ResourceNotFoundException", expected_params={"thingName": "T"})
    stub.add_response("create_thing", {"thingArn": ARN}, {"thingName": "T"})
    expected = {"jobId": "Job1", "targets": [ARN], "document": "{}", "targetSelection": "SNAPSHOT"}
    stub.add_response("create_job", {"jobArn": JOB_ARN}, expected)
    control = ControlPlane(SETTINGS, client)
    assert control.ensure_thing() is True
    control.create_job("Job1", "{}")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException", "InternalFailureException"])
def test_only_not_found_means_missing(client: Any, stub: Any, code: str) -> None:
    """A thing that cannot be described for another reason is not created."""
    stub.add_client_error("describe_thing", code)
    with pytest.raises(RequestFailed, match=f"iot:DescribeThing failed: {code}"):
        ControlPlane(SETTINGS, client).ensure_thing()


def test_thing_cannot_be_created(client: Any, stub: Any) -> None:
    """A refused CreateThing names that permission."""
    stub.add_client_error("describe_thing", "ResourceNotFoundException")
    stub.add_client_error("create_thing", "AccessDeniedException")
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(SETTINGS, client).ensure_thing()
    assert "iot:CreateThing" in caught.value.cause


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<html>Welcome</html>", "the control plane answered, but not as AWS IoT does"),
        (b"{}", "the control plane answered, but not as AWS IoT does"),
        (b"[]", "iot:DescribeThing failed: "),
        (b"\xff", "iot:DescribeThing failed: "),
    ],
)
def test_no_aws_iot(body: bytes, what: str) -> None:
    """An endpoint that answers something else, well, is said to be no AWS IoT."""

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}"
        client = new_client("iot", region="us-east-1", endpoint_url=url, keys=("test", "test"))
        with pytest.raises(RequestFailed, match=what):
            ControlPlane(SETTINGS._replace(endpoint_url=url), client).ensure_thing()
        serving.join()


@pytest.mark.parametrize("document", ['{"Todo":"Reboot"}', ' {"a" :\t"é"}  '])
def test_create_job(control: ControlPlane, stub: Any, document: str) -> None:
    """CreateJob targets the thing once (SNAPSHOT) and carries the document as it is."""
    expected = {"jobId": "Job1", "targets": [ARN], "document": document, "targetSelection": "SNAPSHOT"}
    stub.add_response("create_job", {"jobArn": JOB_ARN, "jobId": "Job1"}, expected)
    answer = control.create_job("Job1", document)
    assert answer == Block("CreateJobOutput", {"description": None, "jobArn": JOB_ARN, "jobId": "Job1"})


def test_create_job_description(control: ControlPlane, stub: Any) -> None:
    """A description that the service sends is shown."""
    stub.add_response("create_job", {"jobArn": JOB_ARN, "description": "d"})
    assert control.create_job("Job1", "{}").body == {"description": "d", "jobArn": JOB_ARN, "jobId": "Job1"}


def test_delete_job(control: ControlPlane, stub: Any) -> None:
    """DeleteJob never forces."""
    stub.add_response("delete_job", {}, {"jobId": "Job1"})
    assert control.delete_job("Job1") == Block("DeleteJobOutput", {"jobId": "Job1"})


@pytest.mark.parametrize("retries", [0, 1])
def test_already_exists(client: Any, stub: Any, retries: int) -> None:
    """A job that exists is told apart from one that an earlier attempt of this request may have made."""
    stub.add_client_error(
        "create_job",
        "ResourceAlreadyExistsException",
        "Job Job1 already exists",
        409,
        response_meta={"RetryAttempts": retries},
        modeled_fields={"resourceArn": JOB_ARN, "resourceId": "Job1"},
    )
    control = ControlPlane(SETTINGS, client)
    control._thing_arn = ARN
    with pytest.raises(AlreadyExists) as caught:
        control.create_job("Job1", "{}")
    assert caught.value.message == "iot:CreateJob failed: ResourceAlreadyExistsException: Job Job1 already exists"
    assert (caught.value.retried, caught.value.job_arn) == (retries == 1, JOB_ARN)
    assert not caught.value.uncertain


def test_access_denied_names_the_permission() -> None:
    """A denied action names the permission and the resource that the service named."""
    message = (
        f"User: arn:aws:iam::1:user/u is not authorized to perform: iot:DeleteJob on resource: {JOB_ARN} "
        "because no identity-based policy allows the iot:DeleteJob action"
    )
    error = refusal("AccessDeniedException", message, 403)
    assert error.message == f"iot:DeleteJob failed: AccessDeniedException: {message}"
    assert error.cause == f"the control plane credentials lack the permission iot:DeleteJob on {JOB_ARN}"
    assert "policies/control-plane-policy.json" in error.next_step
    assert not error.uncertain


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied", "UnauthorizedException"])
def test_access_denied_without_a_word(code: str) -> None:
    """A denied action is named even when the service does not name it."""
    assert refusal(code, "", 403).cause.endswith("lack the permission iot:DeleteJob on the thing or job")


def test_access_denied_without_a_resource() -> None:
    """A denied action whose resource is not named is denied on all."""
    error = refusal("AccessDeniedException", "u is not authorized to perform: iot:DeleteJob", 403)
    assert error.cause.endswith("iot:DeleteJob on *")


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken"])
def test_expired(code: str) -> None:
    """Expired credentials are said to be that, and that the data plane goes on."""
    error = refusal(code, "The security token included in the request is expired", 403)
    assert error.cause == "the control plane credentials have expired"
    assert "the data plane goes on" in error.next_step


@pytest.mark.parametrize(
    "code",
    ["UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch"],
)
def test_wrong_keys(code: str) -> None:
    """Keys that the service does not know are said to be wrong, with a way to see which are used."""
    error = refusal(code, "The security token included in the request is invalid.", 403)
    assert "access key" in error.cause
    assert "aws sts get-caller-identity" in error.next_step


@pytest.mark.parametrize(
    "message",
    ["Signature expired: 20200101T000000Z is now earlier than 20261124T000000Z", "Signature not yet current: x"],
)
def test_wrong_clock(message: str) -> None:
    """A signature of another time is put down to the clock, not to the keys."""
    error = refusal("InvalidSignatureException", message, 403)
    assert error.cause == "the clock of this machine is wrong"
    assert "`date`" in error.next_step


def test_invalid_state_transition() -> None:
    """A job whose executions are not terminal cannot be deleted; the way there is named."""
    error = refusal("InvalidStateTransitionException", "Job is not terminal", 409)
    assert error.cause == "not all of its job executions are terminal"
    assert "update-job-execution" in error.next_step


@pytest.mark.parametrize(("retries", "uncertain"), [(0, False), (1, True)])
def test_not_found(retries: int, uncertain: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A job that a second attempt to delete does not find may have been deleted by the first."""
    error = refusal("ResourceNotFoundException", "Job Job1 not found", 404, retries)
    assert error.message == "iot:DeleteJob failed: ResourceNotFoundException: Job Job1 not found"
    assert error.uncertain is uncertain


@pytest.mark.parametrize(
    ("code", "status", "uncertain"),
    [
        ("InvalidRequestException", 400, False),
        ("ThrottlingException", 429, False),
        ("InternalFailureException", 500, True),
        ("ServiceUnavailableException", 503, True),
    ],
)
def test_other_refusals(code: str, status: int, uncertain: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Other refusals show the service's code and message; after a failure of its own, the outcome is unknown."""
    error = refusal(code, "its words", status)
    assert (error.message, error.cause) == (f"iot:DeleteJob failed: {code}: its words", "")
    assert error.next_step == ("try again in a moment." if status >= 429 else "")
    assert error.uncertain is uncertain


def test_refusal_without_anything() -> None:
    """A refusal without code, message or metadata is a failure like any other."""
    error = failure(boto.ClientError({}, "DeleteJob"))
    assert error.message == "iot:DeleteJob failed: : "
    assert not error.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.NoCredentialsError(),
        boto.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        boto.CredentialRetrievalError(provider="custom-process", error_msg="x"),
    ],
)
def test_no_credentials(error: Exception) -> None:
    """Without usable credentials, the ways to give some are named."""
    told = failure(error)
    assert told.message == f"iot:DeleteJob failed: no usable AWS credentials: {error}"
    assert "AWS_ACCESS_KEY_ID" in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.SSOTokenLoadError(error_msg="x"),
        boto.UnauthorizedSSOTokenError(),
        boto.TokenRetrievalError(provider="sso", error_msg="x"),
    ],
)
def test_single_sign_on(error: Exception) -> None:
    """An expired single sign-on session is renewed with a command that is named."""
    assert failure(error).next_step == "`aws sso login`."


@pytest.mark.parametrize(
    "error",
    [
        boto.ReadTimeoutError(endpoint_url="https://x"),
        boto.ConnectionClosedError(endpoint_url="https://x"),
        boto.ResponseStreamingError(error="x"),
    ],
)
def test_lost_answers(error: Exception) -> None:
    """When the answer is lost, the outcome is unknown."""
    told = failure(error)
    assert told.message == f"iot:DeleteJob: no answer from AWS IoT in us-east-1: {error}"
    assert told.uncertain


@pytest.mark.parametrize(
    "error",
    [
        boto.EndpointConnectionError(endpoint_url="https://x"),
        boto.ConnectTimeoutError(endpoint_url="https://x"),
        boto.HTTPClientError(error="x"),
    ],
)
def test_unreachable(error: Exception) -> None:
    """A control plane that cannot be reached is named, and nothing was carried out."""
    told = failure(error, SETTINGS._replace(endpoint_url="https://here:1"))
    assert told.message == f"iot:DeleteJob failed: the control plane cannot be reached: {error}"
    assert "us-east-1" in told.cause
    assert "https://here:1" in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize(
    ("error", "cause", "todo"),
    [
        (boto.ProxyConnectionError(proxy_url="https://x"), "names a proxy that does not answer", "NO_PROXY"),
        (boto.SSLError(endpoint_url="https://x", error="x"), "intercepts TLS", "AWS_CA_BUNDLE"),
    ],
)
def test_in_between(error: Exception, cause: str, todo: str) -> None:
    """A proxy that does not answer, and TLS that is intercepted, are told by what sets them right."""
    told = failure(error)
    assert told.message == f"iot:DeleteJob failed: {error}"
    assert cause in told.cause
    assert todo in told.next_step
    assert not told.uncertain


@pytest.mark.parametrize(
    "error", [boto.ParamValidationError(report="x"), ValueError("Invalid endpoint"), AttributeError("items")]
)
def test_other_errors(error: Exception) -> None:
    """Whatever else boto3 raises is told in its words."""
    assert failure(error).message == f"iot:DeleteJob failed: {error}"


def test_unknown_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A profile that does not exist is named before anything is sent."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(SETTINGS._replace(profile="nobody"))
    assert "(nobody)" in caught.value.message
    assert "aws configure list-profiles" in caught.value.next_step


def test_wrong_endpoint_url() -> None:
    """An endpoint URL that is none is refused with boto3's words."""
    with pytest.raises(RequestFailed, match="the control plane client failed: Invalid endpoint: not a url"):
        ControlPlane(SETTINGS._replace(endpoint_url="not a url"))


def test_client_gives_up_in_time() -> None:
    """A client tries twice, and no attempt takes longer than the timeout."""
    config = new_client("iot", region="eu-west-1", endpoint_url="http://127.0.0.1:9", timeout=7).meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 7)
    assert config.retries == {"mode": "standard", "total_max_attempts": 2}
    assert config.region_name == "eu-west-1"
    assert new_client("iot", region="eu-west-1", timeout=1).meta.config.connect_timeout == 1


@pytest.mark.parametrize("operation", ["create_job", "delete_job"])
def test_a_retry_makes_the_outcome_unknown(operation: str) -> None:
    """Whatever the second attempt meets, the first, which was cut off, may have been carried out."""
    requests: list[bytes] = []
    refusal = b'{"message": "no"}'
    answer = (
        b"HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: AccessDeniedException\r\nContent-Length: 17\r\n\r\n" + refusal
    )

    def cut_off_then_refuse(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        if len(requests) > 1:
            connection.sendall(answer)

    with serving(cut_off_then_refuse) as port, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        control = ControlPlane(SETTINGS._replace(endpoint_url=f"http://127.0.0.1:{port}"))
        control._thing_arn = "arn:aws:iot:us-east-1:000000000000:thing/Thing"
        with pytest.raises(RequestFailed) as caught:
            getattr(control, operation)("Job1", *(["{}"] if operation == "create_job" else []))
    assert len(requests) == 2
    assert "AccessDenied" in caught.value.message
    assert caught.value.uncertain


def test_a_retry_that_never_left(closed_port: int) -> None:
    """An operation that no attempt could deliver has failed, and nothing about it is unknown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "x")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        control = ControlPlane(SETTINGS._replace(endpoint_url=f"http://127.0.0.1:{closed_port}"))
        with pytest.raises(RequestFailed) as caught:
            control.delete_job("Job1")
    assert len(control._attempts.uncertain) == 2
    assert not caught.value.uncertain


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nothing listens."""
    with servers.closed_port() as port:
        yield port
