"""Nothing that came from credentials, or from the user part of a URL, is in any message, whatever fails."""

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from jobs_sandbox.control_plane.client import ControlPlane
from jobs_sandbox.core.errors import RequestFailed
from tests.support import servers
from tests.support.control import Answer, Control, Request
from tests.unit.control_plane.conftest import SETTINGS, Connect
from tests.unit.control_plane.test_client import OPERATIONS, failure

KEY_ID, SECRET, TOKEN = (
    "AKIAMARKEDMARKED1234",
    "sMARKEDs/MARKED+MARKEDMARKEDMARKEDMARKED",
    "IQoJMARKED//MARKED==",
)
MARK = re.compile("MARK|ARKED", re.IGNORECASE)
URLS = [
    "http://user:MARKED@{host}",
    "http://MARKED@{host}",
    "http://MARKED:MARKED:MARKED@{host}",
    "http://user:MARK@MARKED@{host}",
    "http://user:MARK#MARKED@{host}",
    "http://user:MARK/MARKED@{host}",
    "http://user:MARK?MARKED@{host}",
    "http://user:MARK\\MARKED@{host}",
    "http://user:MARK:/MARKED@{host}",
    "http://us er:MARK MARKED@{host}",
    "http://user:MARK%4dARKED%@{host}",
    "http://user:MARK\u201cMARKED@{host}",
    "http://user:MARK\nMARKED@{host}",
    "http://user:MARKED@[::1",
    "http://user:MARKED@host:port",
    "http://user:MARKED@",
    "http:user:MARKED@{host}",
    "socks5://user:MARKED@{host}",
    "ftp://user:MARKED@{host}",
    "//user:MARKED@{host}",
    "user:MARKED@{host}",
    "MARKED@{host}",
    "@MARKED@{host}",
]


def everything(error: RequestFailed) -> str:
    return "\n".join((error.message, error.cause, error.next_step, str(error)))


@pytest.fixture
def host() -> Iterator[str]:
    with servers.closed_port() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def marked(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts marked credentials in the environment, or in a file."""

    def put(where: str, **others: str) -> None:
        given = {
            "aws_access_key_id": KEY_ID,
            "aws_secret_access_key": SECRET,
            "aws_session_token": TOKEN,
        } | others
        if where == "environment":
            for name, value in given.items():
                monkeypatch.setenv(name.upper(), value)
        else:
            fresh.write_text(
                "[default]\n" + "".join(f"{name} = {value}\n" for name, value in given.items())
            )

    return put


@pytest.mark.parametrize(
    "tail", ["\r", "\n", "\nMARKED", "\r\nX: MARKED", "\r\x01", " \r", "\x7f\r"]
)
@pytest.mark.parametrize("name", ["aws_access_key_id", "aws_session_token"])
def test_credential_that_no_header_holds(
    marked: Callable[..., None], connect: Connect, service: Control, tail: str, name: str
) -> None:
    """A credential with a line end is told as that, without the credential."""
    given = KEY_ID if name == "aws_access_key_id" else TOKEN
    marked("environment", **{name: given + tail})
    error = failure(connect(), "iot:DeleteJob")
    assert not MARK.search(everything(error))
    assert "a credential cannot be sent" in error.message
    assert "aws configure list" in error.next_step
    assert not error.uncertain
    assert service.requests == []


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_server_that_repeats_what_it_got(
    marked: Callable[..., None], connect: Connect, service: Control, where: str
) -> None:
    """A server that sends back the headers it got, whole or in pieces, is quoted without the credentials."""
    marked(where)
    plane = connect()

    def repeat(status: int, request: Request) -> Answer:
        told = f"{json.dumps(request.headers)} {TOKEN!r} {SECRET} {SECRET.replace('/', '%2F').replace('+', '%2B')}"
        return Answer(
            status,
            {"message": told, "resourceArn": told},
            {"x-amzn-ErrorType": f"{TOKEN} {KEY_ID}"},
        )

    for status in (302, 400, 403, 500):
        service.answer = partial(repeat, status)
        for action in OPERATIONS:
            error = failure(plane, action)
            assert not MARK.search(everything(error).replace("…1234", ""))
            assert "…1234" in error.message


@pytest.mark.parametrize("url", URLS)
def test_endpoint_url(url: str, host: str) -> None:
    """The user part of --endpoint-url is not shown, be it a URL or not."""
    settings = SETTINGS._replace(endpoint_url=url.format(host=host))
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(settings).ensure_thing()
    assert not MARK.search(everything(caught.value))
    assert not MARK.search(settings.control_plane)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("url", URLS)
def test_proxies(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, url: str, name: str, host: str
) -> None:
    """The user part of a proxy's URL is not shown, be it a URL or not."""
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv(name, url.format(host=host))
    scheme = "https" if name == "https_proxy" else "http"
    error = failure(connect(f"{scheme}://control.invalid"), "iot:DeleteJob")
    assert not MARK.search(everything(error))


@pytest.mark.parametrize(
    "url", ["http://user:MARKED@{host}", "http://user:MARK#MARKED@{host}", "socks5://{host}"]
)
def test_nothing_gets_past_a_proxy_that_is_none(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, url: str, host: str
) -> None:
    """When the proxy cannot be reached, or is no URL, nothing was sent."""
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", url.format(host=host))
    error = failure(connect("http://control.invalid"), "iot:DeleteJob")
    assert not error.uncertain
    assert "proxy" in error.cause


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_IOT", "file", "services"])
@pytest.mark.parametrize("url", [URLS[0], URLS[4]])
def test_endpoints_configured(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str, host: str
) -> None:
    """The user part of an endpoint URL in the environment or in ~/.aws/config is not shown."""
    url = url.format(host=host)
    keys = "aws_access_key_id = any\naws_secret_access_key = any\n"
    files = {
        "file": f"[default]\n{keys}endpoint_url = {url}\n",
        "services": f"[default]\n{keys}services = s\n[services s]\niot =\n  endpoint_url = {url}\n",
    }
    fresh.write_text(files.get(name, f"[default]\n{keys}"))
    if name not in files:
        monkeypatch.setenv(name, url)
    with pytest.raises(RequestFailed) as caught:
        ControlPlane(SETTINGS).ensure_thing()
    assert (
        "control plane cannot be reached" in caught.value.message
        or "Port could not be" in caught.value.message
    )
    assert not MARK.search(everything(caught.value))


def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    """A proxy that wants a password says so."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    with servers.serving(servers.answering(refusal)) as port:
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:MARKED@127.0.0.1:{port}")
        error = failure(connect("https://control.invalid"), "iot:DeleteJob")
    assert "407 Proxy Authentication Required" in error.message
    assert not MARK.search(everything(error))


def test_credentials_that_a_program_gives(
    fresh: Path, connect: Connect, service: Control, tmp_path: Path
) -> None:
    """Credentials of a credential_process, which stand in no file and no variable, are not shown either."""
    given = {"Version": 1, "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "SessionToken": TOKEN}
    (tmp_path / "given.json").write_text(json.dumps(given))
    fresh.write_text(f"[default]\ncredential_process = cat {tmp_path / 'given.json'}\n")
    service.answer = lambda request: Answer(403, {"message": json.dumps(request.headers)})
    error = failure(connect(), "iot:DeleteJob")
    assert "authorization" in error.message
    assert not MARK.search(everything(error).replace("…1234", ""))


def test_an_answer_of_sts_that_cannot_be_read(
    fresh: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New credentials in an answer that is no XML are not quoted, as botocore would."""
    role = "[profile role]\nrole_arn = arn:aws:iam::000000000000:role/r\nsource_profile = keys\n"
    fresh.write_text(f"{role}[profile keys]\naws_access_key_id = x\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_PROFILE", "role")
    body = f"<A><SecretAccessKey>{SECRET}</SecretAccessKey>"
    with servers.serving(
        servers.answering(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    ) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        error = failure(connect(), "iot:DeleteJob")
    assert error.message == "iot:DeleteJob failed: an answer that cannot be read"
    assert not MARK.search(everything(error))
