"""The embedded AWS IoT: how it starts, and what is said when it cannot."""

import os
import queue
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from jobs_sandbox.errors import StartError
from jobs_sandbox.local import embedded as local
from jobs_sandbox.local.embedded import local_iot
from tests.support.account import Account


@pytest.fixture
def forget_ministack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a module in MiniStack's place, for the child process."""

    def forget(source: str) -> None:
        (tmp_path / "ministack").mkdir()
        (tmp_path / "ministack" / "__init__.py").touch()
        (tmp_path / "ministack" / "app.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return forget


def test_missing_extra_says_which_install_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without MiniStack, the error names the extra and the command."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StartError) as caught, local_iot("Thing"):
        pass
    assert "pip install 'jobs-sandbox[local]'" in caught.value.next_step


def test_the_users_own_account_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, no AWS setting of the user's is left; afterwards all are back, and the folder is gone."""
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    before = dict(os.environ)
    with local_iot("Thing") as running:
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
        assert os.environ["AWS_ENDPOINT_URL"] == running.endpoint_url
        folder = Path(running.cert).parent
        assert folder.stat().st_mode & 0o077 == 0
        assert Path(running.key).stat().st_mode & 0o077 == 0
    assert dict(os.environ) == before
    assert not folder.exists()


def test_a_taken_port_is_tried_again(monkeypatch: pytest.MonkeyPatch, account: Account) -> None:
    """A port that another program takes in the last moment costs a second attempt, not the start."""
    free_port = local._free_port
    ports = [free_port(), account.local.port]
    monkeypatch.setattr(local, "_free_port", lambda: ports.pop(0) if ports else free_port())
    with local_iot("Thing") as running:
        assert running.port != account.local.port
        with socket.create_connection((running.endpoint, running.port), 1):
            pass


def test_a_child_that_dies_is_told_with_its_last_word(forget_ministack: Callable[[str], None]) -> None:
    """When the child cannot run, its last line of output is in the error."""
    forget_ministack("raise ImportError('half installed')")
    with pytest.raises(StartError, match="half installed"), local_iot("Thing"):
        pass


def test_a_child_that_never_answers_is_killed(
    forget_ministack: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that neither answers nor obeys is told as such, and is killed."""
    forget_ministack("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    before = psutil.Process().children()
    monkeypatch.setattr(local, "_START_TIMEOUT", 0.5)
    monkeypatch.setattr(local, "_STOP_TIMEOUT", 0.2)
    monkeypatch.setattr(local, "_ATTEMPTS", 1)
    with pytest.raises(StartError, match="no answer"), local_iot("Thing"):
        pass
    assert psutil.Process().children() == before


def test_a_proxy_does_not_get_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a proxy is named in the environment, the embedded AWS IoT is reached directly."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "example.com")
    with local_iot("Thing") as running:
        assert running.port


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the system starts no process, that is told, and the folder is gone."""

    def no_process(*_: object, **__: object) -> None:
        raise OSError("Too many open files")

    monkeypatch.setattr("subprocess.Popen", no_process)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(StartError, match="could not be set up: Too many open files"), local_iot("Thing"):
        pass
    assert not list(tmp_path.iterdir())


def test_an_end_that_nobody_asked_for_is_told() -> None:
    """When the embedded AWS IoT is killed, that is said once; when it is stopped in the end, it is not."""
    told: queue.Queue[str] = queue.Queue()
    with local_iot("Thing", told.put):
        child = max(psutil.Process().children(), key=lambda process: process.create_time())
        child.kill()
        assert "the local AWS IoT has ended (signal 9)" in told.get(timeout=10)
    with local_iot("Thing", told.put):
        pass
    assert told.empty()
