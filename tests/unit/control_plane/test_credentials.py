"""Where credentials come from, how a slow source is reported, and that nothing is left of it."""

import hashlib
import json
import os
import queue
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from botocore import credentials

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core.errors import RequestFailed
from tests.support.servers.control import Answer, Control, refusal
from tests.unit.control_plane.conftest import KEYS, Configure, Connect, failure, words
from tests.unit.fakes import TIMEOUT

GIVEN = {
    "Version": 1,
    "AccessKeyId": "ASIAMARKED",
    "SecretAccessKey": "MARKED/MARKED",
    "SessionToken": "IQoJMARKED",
}
EXPIRED = GIVEN | {"Expiration": "2020-01-01T00:00:00Z"}
SSO = """[profile dev]
sso_session = s
sso_account_id = 1
sso_role_name = r
[sso-session s]
sso_region = us-east-1
sso_start_url = https://x
"""
ROLE = "[default]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = dev\n"
STS = b"""<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId>
<SecretAccessKey>MARKED/ROLE</SecretAccessKey><SessionToken>IQoJROLE</SessionToken>
<Expiration>2098-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


def process(script: str) -> str:
    """A profile whose credential_process is a shell script."""
    return f"[profile dev]\ncredential_process = sh -c {shlex.quote(script)}\n"


def printing(given: dict[str, object]) -> str:
    """A profile whose credential_process prints this."""
    return process(f"echo '{json.dumps(given)}'")


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ("[profile dev]\ncredential_process = /no/such", "No such file or directory: '/no/such'"),
        (process("echo hello"), "Expecting value"),
        (process("echo Please log in >&2; exit 3"), "custom-process: Please log in | its command"),
        (printing(EXPIRED), "are still expired"),
        (ROLE + process("echo Please log in >&2; exit 3"), "of the profile dev: Error when"),
    ],
    ids=["absent", "no JSON", "failed", "expired keys", "of a source_profile"],
)
def test_a_process_that_gives_nothing(
    configure: Configure, connect: Connect, service: Control, config: str, shown: str
) -> None:
    """A credential_process that gives no keys is named, with what it says."""
    configure(config)
    profile = "default" if config.startswith(ROLE) else "dev"
    error = failure(connect(profile=profile).ensure_thing)
    assert "no credentials from the credential_process of the profile dev: " in error.message
    assert shown in words(error)
    assert "MARKED" not in words(error)
    assert service.requests == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (ROLE + printing(GIVEN), "ASIAMARKED"),
        (ROLE.replace("source_profile = dev", "credential_source = Environment"), "AKIAIOSFODNN7"),
    ],
    ids=["of a process", "of the environment"],
)
def test_a_role(
    configure: Configure, connect: Connect, service: Control, config: str, key: str
) -> None:
    """A role is assumed with other keys; its own keys sign then, and are hidden."""
    configure(config, **KEYS, AWS_ENDPOINT_URL_STS=service.url)
    service.script(Answer(200, STS), refusal(403, "Odd", "IQoJROLE"))
    error = failure(connect(profile="default").ensure_thing)
    assert error.message == "iot:DescribeThing failed: Odd: …"
    signed = [request.headers["authorization"] for request in service.requests]
    assert key in signed[0]
    assert "ASIAROLE" in signed[1]


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        # botocore would quote the new credentials
        (Answer(200, STS[:200]), "from AWS STS (AssumeRole): an answer that cannot be read | "),
        # which is not the thing that is missing
        (refusal(404, "ResourceNotFoundException"), "no credentials from AWS STS (AssumeRole): "),
    ],
)
def test_a_role_that_cannot_be_assumed(
    configure: Configure, connect: Connect, service: Control, answer: Answer, shown: str
) -> None:
    """A failure of STS is not taken for one of AWS IoT, and what it says is not quoted whole."""
    configure(ROLE + printing(GIVEN), AWS_ENDPOINT_URL_STS=service.url)
    service.script(answer)
    error = failure(connect().ensure_thing)
    assert shown in words(error)
    assert "MARKED" not in words(error)
    assert len(service.requests) == 1


def test_a_code_is_not_asked_for(configure: Configure, connect: Connect) -> None:
    """Credentials that need a code are refused at once, with what to do."""
    keys = "".join(f"{name.lower()} = {value}\n" for name, value in KEYS.items())
    configure(f"{ROLE}mfa_serial = arn:aws:iam::1:mfa/me\n[profile dev]\n{keys}")
    error = failure(connect().ensure_thing)
    assert "arn:aws:iam::1:mfa/me" in error.message
    assert "aws configure export-credentials --format env" in error.next_step


# Sessions


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder in which the AWS CLI keeps its sessions."""
    for owner in ("credentials.SSOProvider", "tokens.SSOTokenProvider"):
        monkeypatch.setattr(f"botocore.{owner}._SSO_TOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(tmp_path))
    return tmp_path


def remember(cache: Path, expiry: str) -> None:
    """Keep a single sign-on session as the AWS CLI does."""
    name = hashlib.sha1(b"s", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps({"accessToken": "x", "expiresAt": expiry}))


@pytest.mark.parametrize("expired", [False, True])
def test_single_sign_on(
    configure: Configure, connect: Connect, cache: Path, *, expired: bool
) -> None:
    """A single sign-on session that is missing or expired is renewed for its profile."""
    configure(SSO)
    if expired:
        remember(cache, "2020-01-01T00:00:00Z")
    error = failure(connect(profile="dev").ensure_thing)
    assert ("Token has expired" if expired else "Token for s does not exist") in error.message
    assert error.next_step == "`aws sso login --profile dev`, then try again."


@pytest.mark.skipif(not hasattr(credentials, "LoginProvider"), reason="botocore is too old")
@pytest.mark.usefixtures("cache")
def test_aws_login(configure: Configure, connect: Connect) -> None:
    """A session of `aws login` that is missing is renewed for its profile."""
    configure("[profile 'my dev']\nlogin_session = me\n")
    error = failure(connect(profile="my dev").ensure_thing)
    assert error.next_step == "`aws login --profile 'my dev'`, then try again."


# Slow sources


@pytest.fixture
def silence() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def begin(plane: ControlPlane) -> None:
    """Let a control plane fetch its credentials on a thread that nobody waits for."""

    def fetch() -> None:
        with suppress(RequestFailed):
            plane.ensure_thing()

    threading.Thread(target=fetch, daemon=True).start()


def test_a_slow_source(configure: Configure, connect: Connect, silence: str) -> None:
    """After a second a source that is slow is named, and when the time is up, blamed."""
    configure("[default]", AWS_CONTAINER_CREDENTIALS_FULL_URI=silence)
    notices: queue.Queue[str] = queue.Queue()
    plane = connect(notice=notices.put, timeout=10)
    begin(plane)
    source = "the credentials service of the container"
    assert notices.get(timeout=TIMEOUT) == f"waiting for AWS credentials from {source}"
    error = plane.no_answer(5)
    assert error.message == f"{source} gave no AWS credentials within 5 s"
    assert "aws sts get-caller-identity" in error.next_step
    assert not error.uncertain


@pytest.mark.parametrize("end", [lambda plane: plane.no_answer(5), ControlPlane.close])
def test_a_process_that_hangs(
    configure: Configure, connect: Connect, tmp_path: Path, end: Callable[[ControlPlane], object]
) -> None:
    """A credential_process that hangs has no terminal, is quoted, and ends with its children."""
    script = f"sleep 1000 & echo $$ > {tmp_path}/id; echo 'Touch your key' >&2; wait"
    configure(process(script))
    notices: queue.Queue[str] = queue.Queue()
    plane = connect(notice=notices.put, profile="dev")
    begin(plane)
    source = "the credential_process of the profile dev"
    expected = f"waiting for AWS credentials from {source}: Touch your key"
    while notices.get(timeout=TIMEOUT) != expected:
        pass
    leader = psutil.Process(int((tmp_path / "id").read_text()))
    family = [leader, *leader.children()]
    assert len(family) == 2
    assert os.getsid(leader.pid) == leader.pid
    error = end(plane)
    assert psutil.wait_procs(family, TIMEOUT)[1] == []
    if isinstance(error, RequestFailed):
        assert error.message == f"{source} gave no AWS credentials within 5 s: Touch your key"


# --local


def test_local(connect: Connect, configure: Configure, service: Control) -> None:
    """With --local its keys count alone: no file, no profile, no proxy, and nothing is changed."""
    configure("nonsense", AWS_PROFILE="nobody", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="")
    configure(AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_DEFAULT_REGION="no region")
    before = dict(os.environ)
    assert connect(environment=KEYS).ensure_thing() is False
    assert KEYS["AWS_ACCESS_KEY_ID"] in service.requests[0].headers["authorization"]
    assert dict(os.environ) == before
