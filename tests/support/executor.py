"""The reference device as a process, handlers for it, and a Jobs service whose answers a test scripts."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import psutil

from jobs_sandbox.local.service import LocalIoT
from tests.support.account import Device
from tests.support.broker import THING, Broker, Request
from tests.support.program import environment
from tests.support.proxy import HOST, PATIENCE

SCRIPT = Path(__file__).parents[2] / "examples" / "job_executor.py"


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait until the condition is true; its value."""
    end = time.monotonic() + patience
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
    return value


def connection(local: LocalIoT, device: Device, port: int | None = None) -> dict[str, str]:
    """What tells a device by its environment how to join the embedded AWS IoT, directly or by a proxy."""
    return {
        "IOT_ENDPOINT": local.endpoint,
        "IOT_PORT": str(port or local.port),
        "IOT_CA_FILE": local.ca_file,
        "IOT_CERT": device.cert,
        "IOT_KEY": device.key,
        "IOT_REGION": local.region,
        "IOT_THING": device.thing,
        "IOT_CLIENT_ID": f"test-{uuid.uuid4()}",
    }


def scripted_connection(broker: Broker, folder: Path) -> dict[str, str]:
    """The same for a scripted broker, whose certificates are in the folder."""
    return {
        "IOT_ENDPOINT": HOST,
        "IOT_PORT": str(broker.port),
        "IOT_CA_FILE": str(folder / "ca.pem"),
        "IOT_CERT": str(folder / "certificate.pem"),
        "IOT_KEY": str(folder / "private.key"),
        "IOT_THING": THING,
        "IOT_CLIENT_ID": "test-device",
    }


class Handlers:
    """A folder with a handler, and with what handlers write down.

    A handler is a shell script. Before its own lines it writes "<job id> <execution number> <resumed>" to ``ran``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "handler"
        self.state = folder / "state"
        self.log = folder / "log"

    def write(self, *lines: str) -> None:
        note = f'echo "$JOB_ID $JOB_EXECUTION_NUMBER $JOB_RESUMED" >> {self.folder}/ran'
        self.path.write_text("\n".join(["#!/bin/sh", f"cd {self.folder}", note, *lines, ""]))
        self.path.chmod(0o755)

    def wrote(self, name: str) -> list[str]:
        """The lines of a file that handlers wrote; none if there is no such file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def pid(self) -> str:
        """What a handler wrote into the file of that name; nothing if there is none yet."""
        return "".join(self.wrote("pid"))

    @property
    def ran(self) -> list[str]:
        return self.wrote("ran")


class Executor:
    """A running job_executor.py; a context manager that leaves nothing behind."""

    def __init__(self, handlers: Handlers, iot: Mapping[str, str], *arguments: str) -> None:
        self._log = handlers.log
        with handlers.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    SCRIPT,
                    "--run",
                    str(handlers.path),
                    "--state",
                    str(handlers.state),
                    *arguments,
                ],
                env=environment(iot),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.kill()
        if error:
            error.add_note(f"its log:\n{self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until its log holds the text so many times."""
        until(lambda: self.log.count(text) >= times)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


class JobsService:
    """Answers a device as AWS IoT Jobs would, on a scripted broker, until a test wants another answer.

    Attributes:
        executions: what the thing has to do, and what became of it.
        meddle: asked first, with each request: True if it has dealt with it.

    """

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.executions: list[dict[str, Any]] = []
        self.meddle: Callable[[Request], bool] = lambda _: False
        broker.answer = self.answer

    def add(self, job_id: str, number: int = 1, queued_at: int = 1_700_000_000) -> dict[str, Any]:
        """Queue an execution, without a word to the device."""
        times = {"queuedAt": queued_at, "lastUpdatedAt": queued_at}
        execution = {
            "jobId": job_id,
            "executionNumber": number,
            "status": "QUEUED",
            "versionNumber": 1,
        } | times
        self.executions.append(execution)
        return execution

    def asked(self, verb: str) -> list[dict[str, Any]]:
        """The bodies of all requests with that last level of their topic: ``start-next``, ``get``, ``update``."""
        return [request.body for request in self.broker.requests if request.name.endswith(verb)]

    def reported(self) -> list[str]:
        """The outcomes that the device sent, whether they were taken or not."""
        return [body["status"] for body in self.asked("update") if body["status"] != "IN_PROGRESS"]

    def answer(self, request: Request) -> None:
        if self.meddle(request):
            return
        job_id, _, verb = request.name.rpartition("/")
        if verb == "start-next":
            self.start_next(request)
            return
        execution = next((one for one in reversed(self.executions) if one["jobId"] == job_id), None)
        if (
            execution is None
            or request.body.get("executionNumber", 1) != execution["executionNumber"]
        ):
            request.reject(code="ResourceNotFound", message="no such execution")
        elif execution["status"] not in ("QUEUED", "IN_PROGRESS"):
            code = "TerminalStateReached" if verb == "get" else "InvalidStateTransition"
            request.reject(code=code, message="it has ended")
        elif verb == "get":
            request.accept(execution=execution)
        else:
            execution["status"] = request.body["status"]
            request.accept()

    def start_next(self, request: Request) -> None:
        pending = [one for one in self.executions if one["status"] in ("QUEUED", "IN_PROGRESS")]
        pending.sort(key=lambda one: one["status"])  # stable: IN_PROGRESS first
        if not pending:
            request.accept()
            return
        pending[0]["status"] = "IN_PROGRESS"
        request.accept(execution=pending[0] | {"jobDocument": {}})


class Held(threading.Event):
    """Tells a test that a request has come to where it is held; it is never answered."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self, request: Request) -> bool:
        if self.is_set() or not request.name.endswith(self._name):
            return False
        self.set()
        return True


def alive(pid: str) -> bool:
    """Whether there is a process of that id, other than a zombie."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
