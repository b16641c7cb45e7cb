"""One MiniStack for all integration tests that do not harm it."""

from collections.abc import Iterator

import pytest

from tests.support.account import Account, running_account
from tests.support.raw_device import RawDevice


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
