"""One MiniStack for all integration tests that do not harm it."""

import signal
from collections.abc import Iterator

import pytest

from tests.support.account import Account, running_account
from tests.support.raw_device import RawDevice


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What the tests start can be interrupted, though a shell in the background or nohup had us ignore it."""
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A MiniStack shared by the whole run; each test makes things of its own in it."""
    with running_account(tmp_path_factory.mktemp("account")) as account:
        yield account


@pytest.fixture
def raw_device(account: Account) -> Iterator[RawDevice]:
    """A connected device whose thing exists."""
    identity = account.device()
    account.iot.create_thing(thingName=identity.thing)
    with RawDevice(account.local, identity) as raw_device:
        yield raw_device
