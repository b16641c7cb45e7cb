"""One MiniStack for all integration tests that do not harm it."""

from collections.abc import Iterator

import pytest

from tests.support.account import Account, running_account


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """A MiniStack shared by the whole run; each test makes things of its own in it."""
    with running_account(tmp_path_factory.mktemp("account")) as account:
        yield account
