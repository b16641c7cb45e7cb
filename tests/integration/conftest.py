"""Fixtures of the integration tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aws.account import Account, running_account
from tests.support.drivers.raw_device import RawDevice
from tests.support.servers.broker import Broker


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """Undo what nohup and shells in the background do: programs would ignore signals."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An AWS IoT that all tests share; each makes things of its own in it."""
    with running_account(tmp_path_factory.mktemp("account")) as account:
        yield account


@pytest.fixture
def raw_device(account: Account) -> Iterator[RawDevice]:
    """A connected device whose thing exists."""
    identity = account.device()
    account.iot.create_thing(thingName=identity.thing)
    with RawDevice(account.local, identity) as raw_device:
        yield raw_device


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker of the test's own."""
    with Broker(tmp_path) as broker:
        yield broker
