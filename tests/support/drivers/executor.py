"""The reference device as a process, handlers for it, and a Jobs service that a test scripts."""

import json
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any, Self

import psutil

from jobs_sandbox.local import HOST
from jobs_sandbox.local.service import LocalIoT
from tests.support.aws.account import Account, Device
from tests.support.drivers.program import environment
from tests.support.readme import ROOT
from tests.support.servers.broker import THING, Broker, Request
from tests.support.waiting import PATIENCE, until

EXAMPLES = ROOT / "examples"
HASTY = Path(__file__).with_name("hasty_executor.py")


def connection(local: LocalIoT, device: Device) -> dict[str, str]:
    """The environment of a device that joins the embedded AWS IoT."""
    return {
        "IOT_ENDPOINT": local.endpoint,
        "IOT_PORT": str(local.port),
        "IOT_CA_FILE": local.ca_file,
        "IOT_CERT": device.cert,
        "IOT_KEY": device.key,
        "IOT_THING": device.thing,
        "IOT_CLIENT_ID": f"test-{uuid.uuid4()}",
    }


# A device that is tested need not be as patient as one in the field.
HASTE = {
    "FIRST_PAUSE": 0.1,
    "LONGEST_PAUSE": 0.2,
    "FIRST_RECONNECT_PAUSE": 0.2,
    "LONGEST_RECONNECT_PAUSE": 1,
    "RESPONSE_TIMEOUT": 1,
    "REPORT_EVERY": 0.1,
}


class Bench:
    """A folder with a handler and the files that handlers write, and a service for the device.

    A handler is a shell script. Before its own lines it writes "<job id> <execution number>
    <resumed>" to the file ``ran``.

    Attributes:
        iot: the environment of a device that joins the service.

    """

    def __init__(self, folder: Path, iot: dict[str, str]) -> None:
        self.folder = folder
        self.iot = iot
        self.path = folder / "handler"
        self.state = folder / "state"
        self.log = folder / "log"

    def write(self, *lines: str) -> None:
        """Write the handler."""
        note = f'echo "$JOB_ID $JOB_EXECUTION_NUMBER $JOB_RESUMED" >> {self.folder}/ran'
        self.path.write_text("\n".join(["#!/bin/sh", f"cd {self.folder}", note, *lines, ""]))
        self.path.chmod(0o755)

    def wrote(self, name: str) -> list[str]:
        """The lines of a file that handlers wrote; none if there is no such file."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def touch(self, name: str) -> None:
        """Make a file that a handler waits for."""
        (self.folder / name).touch()

    @property
    def ran(self) -> list[str]:
        return self.wrote("ran")

    def device(self, *arguments: str, **constants: float) -> "Executor":
        """Start the device, with short pauses."""
        return Executor(self, *arguments, **(HASTE | constants))


class Executor:
    """A running job_executor.py; a context manager that leaves nothing behind.

    The constants, such as ``FIRST_PAUSE=0.1``, take the place of those in the file.
    """

    def __init__(self, bench: Bench, *arguments: str, **constants: float) -> None:
        command = [str(EXAMPLES / "job_executor.py")]
        if constants:
            command = [str(HASTY), json.dumps(constants)]
        command += ["--run", str(bench.path), "--state", str(bench.state), *arguments]
        self._log = bench.log
        with bench.log.open("ab") as log:
            self.process = psutil.Popen(
                [sys.executable, *command],
                env=environment(bench.iot) | {"PYTHONPATH": str(EXAMPLES)},
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

    def wait_for(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until its log has the text."""
        until(lambda: text in self.log, patience)

    def kill(self) -> None:
        """Kill it and its handler, as a power cut does, or systemd after a kill of the executor."""
        if self.process.poll() is None:
            # Stopped, it starts no handler meanwhile.
            self.process.suspend()
            for process in [*self.process.children(recursive=True), self.process]:
                process.kill()
        self.process.wait(PATIENCE)

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return int(self.process.wait(PATIENCE))


class Thing(Bench):
    """A thing of the embedded AWS IoT, and its jobs as an operator sees them."""

    def __init__(self, account: Account, folder: Path) -> None:
        device = account.device()
        super().__init__(folder, connection(account.local, device))
        self.operator = account.iot
        self._account = account
        self._name = device.thing
        self.operator.create_thing(thingName=self._name)

    def create(self) -> str:
        return self._account.create_job(self._name)

    def status(self, job_id: str) -> str:
        answer = self.operator.describe_job_execution(jobId=job_id, thingName=self._name)
        return str(answer["execution"]["status"])

    def wait(self, job_id: str, status: str) -> None:
        until(lambda: self.status(job_id) == status, patience=30)


class JobsService(Bench):
    """Answers a device as AWS IoT Jobs would, on a scripted broker with its files in the folder.

    Attributes:
        executions: what the thing has to do, and what became of it.

    """

    def __init__(self, broker: Broker, folder: Path) -> None:
        super().__init__(
            folder,
            {
                "IOT_ENDPOINT": HOST,
                "IOT_PORT": str(broker.port),
                "IOT_CA_FILE": str(folder / "ca.pem"),
                "IOT_CERT": str(folder / "certificate.pem"),
                "IOT_KEY": str(folder / "private.key"),
                "IOT_THING": THING,
            },
        )
        self.broker = broker
        self.executions: list[dict[str, Any]] = []
        self._refusals: dict[str, list[str | None]] = {}
        broker.answer = self.answer

    def add(self, job_id: str, number: int = 1, queued_at: int = 1_700_000_000) -> dict[str, Any]:
        """Queue an execution, without an event."""
        execution = {"jobId": job_id, "executionNumber": number, "queuedAt": queued_at}
        self.executions.append(execution | {"status": "QUEUED"})
        return self.executions[-1]

    def refuse(self, verb: str, *codes: str | None) -> None:
        """Reject the next requests of that kind with these codes; None loses one."""
        self._refusals[verb] = list(codes)

    def asked(self, verb: str) -> list[dict[str, Any]]:
        """The bodies of all requests of that kind: ``start-next``, ``get`` or ``update``."""
        return [request.body for request in self.broker.requests if request.name.endswith(verb)]

    def answer(self, request: Request) -> None:
        """Answer a request as the service would; a test may do it otherwise."""
        job_id, _, verb = request.name.rpartition("/")
        if refusals := self._refusals.get(verb):
            if code := refusals.pop(0):
                request.reject(code=code, message="as the test wants it")
        elif verb == "start-next":
            self._start_next(request)
        else:
            self._describe_or_update(request, job_id, verb)

    def _describe_or_update(self, request: Request, job_id: str, verb: str) -> None:
        key = (job_id, request.body["executionNumber"])
        found = [one for one in self.executions if (one["jobId"], one["executionNumber"]) == key]
        if not found:
            request.reject(code="ResourceNotFound", message="no such execution")
        elif found[-1]["status"] not in ("QUEUED", "IN_PROGRESS"):
            code = "TerminalStateReached" if verb == "get" else "InvalidStateTransition"
            request.reject(code=code, message="it has ended")
        elif verb == "get":
            request.accept(execution=found[-1])
        else:
            found[-1]["status"] = request.body["status"]
            request.accept()

    def _start_next(self, request: Request) -> None:
        pending = [one for one in self.executions if one["status"] in ("QUEUED", "IN_PROGRESS")]
        # The sort is stable: those in progress first, then by age.
        pending.sort(key=lambda one: one["status"])
        if not pending:
            request.accept()
            return
        pending[0]["status"] = "IN_PROGRESS"
        request.accept(execution=pending[0] | {"jobDocument": {}})


def alive(pid: str) -> bool:
    """Whether there is a process of that id, other than a zombie."""
    try:
        return psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
