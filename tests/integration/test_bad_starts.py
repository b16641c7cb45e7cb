"""Ten starts that fail: the real program says what happened, the likely cause and what to do."""

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from jobs_sandbox.local import HOST
from tests.support.aws.account import Account
from tests.support.drivers.program import run

CLOSED_PORT = "1"
SECRET = "MARKED-SECRET"


class Start:
    """A good start; a test spoils one point of it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.device = account.device()
        account.iot.create_thing(thingName=self.device.thing)
        self.operator = account.operator(self.device.thing)
        self.options: dict[str, str] = {}
        self.endpoint = account.local.endpoint

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        return [self.endpoint, *self.account.arguments(self.device, **self.options)[1:]]


def no_certificate(start: Start) -> None:
    start.device = start.device._replace(cert="/no/x.pem")


def the_key_of_another_certificate(start: Start) -> None:
    start.device = start.device._replace(key=start.account.device().key)


def no_such_host(start: Start) -> None:
    start.endpoint = "nowhere.invalid"


def nothing_listens(start: Start) -> None:
    start.options["port"] = CLOSED_PORT


def a_server_that_is_not_trusted(start: Start) -> None:
    # The device SDK would report it after 12 to 28 seconds.
    start.options |= {"ca_file": start.device.cert, "timeout": "1"}


def an_inactive_certificate(start: Start) -> None:
    certificate_id = start.device.certificate_arn.rpartition("/")[2]
    start.account.iot.update_certificate(certificateId=certificate_id, newStatus="INACTIVE")


def a_client_id_that_is_not_allowed(start: Start) -> None:
    start.options["client_id"] = "other"


def no_credentials(start: Start) -> None:
    start.operator = {}


def a_wrong_secret(start: Start) -> None:
    start.operator["AWS_SECRET_ACCESS_KEY"] = SECRET


def no_control_plane(start: Start) -> None:
    start.options["endpoint_url"] = f"http://user:{SECRET}@{HOST}:{CLOSED_PORT}"


class Case(NamedTuple):
    """What spoils a start, and words of the three lines that explain it."""

    spoil: Callable[[Start], None]
    message: str
    cause: str
    next_step: str


CASES = [
    Case(no_certificate, "'/no/x.pem' cannot be read", "mistyped path", "certificate, key"),
    Case(the_key_of_another_certificate, "do not belong together", "two different", "aws iot"),
    Case(no_such_host, "'nowhere.invalid' does not resolve", "a URL", "emulator"),
    Case(nothing_listens, "Connection refused", "--port", "--port"),
    Case(a_server_that_is_not_trusted, "is not trusted", "trust store", "--ca-file"),
    Case(
        an_inactive_certificate,
        "refused the client certificate",
        "not ACTIVE",
        "describe-certificate",
    ),
    Case(
        a_client_id_that_is_not_allowed,
        "NOT_AUTHORIZED (135)",
        "iot:Connect on client/other",
        "--client-id",
    ),
    Case(no_credentials, "Unable to locate credentials", "an AWS access key", "aws configure"),
    Case(a_wrong_secret, "InvalidSignatureException", "secret key", "aws sts"),
    Case(no_control_plane, "cannot be reached", "--endpoint-url", "from here"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.spoil.__name__)
def test_bad_start(case: Case, account: Account) -> None:
    """Three lines on stderr explain it, without a secret; the exit status is 1."""
    start = Start(account)
    case.spoil(start)
    ended = run(start.arguments, "", start.operator)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    message, cause, next_step = ended.stderr.splitlines()
    assert case.message in message
    assert case.cause in cause.removeprefix("  likely cause: ")
    assert case.next_step in next_step.removeprefix("  next: ")
    assert SECRET not in ended.stderr


def test_as_json(account: Account) -> None:
    """With --output json the explanation is one object on stderr."""
    start = Start(account)
    start.options |= {"port": CLOSED_PORT, "output": "json"}
    ended = run(start.arguments, "", start.operator)
    assert (ended.returncode, ended.stdout) == (1, "")
    reported = json.loads(ended.stderr)
    assert reported["type"] == "Error"
    assert "Connection refused" in reported["message"]
    assert {"cause", "next"} < reported.keys()
