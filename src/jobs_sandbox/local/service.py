"""Starts, asks and stops the embedded AWS IoT of ``--local``.

It runs in a child process, `jobs_sandbox.local.child`, which ends when its standard input ends. So
it ends when this process ends, whatever the reason.
"""

import importlib.util
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs_sandbox.core.errors import SandboxError, StartError
from jobs_sandbox.core.jobs import is_thing_name
from jobs_sandbox.local import ACCOUNT, ENDPOINT, HOST, REGION
from jobs_sandbox.local.policies import device_policy_for, fill_in, shipped_policy, wildcards

# In seconds. A start takes less than one.
_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 3.0

# -P: no module of the current folder takes the place of another.
_COMMAND = (sys.executable, "-P", "-m", "jobs_sandbox.local.child")
_LOG = "ministack.log"
# The shipped device policy allows other client ids; together they would be too long.
_OWN_CLIENT_ID = """{"Version": "2012-10-17", "Statement": {"Effect": "Allow",
    "Action": "iot:Connect", "Resource": "arn:aws:iot:<region>:<account>:client/<thingname>"}}"""


class LocalIoT:
    """An embedded AWS IoT, in which a thing, its certificates and an operator exist.

    `start` only starts it, so that the caller can do other things until `wait_ready` returns.
    `stop` leaves nothing behind. The environment of this process is not changed, and no thread is
    started.

    Args:
        thing: the thing's name, ``[a-zA-Z0-9:_-]{1,128}``.
        policy: the device policy of the certificate ``cert``: JSON text in which ``<region>``,
            ``<account>`` and ``<thingname>`` are filled in; None is the shipped
            ``policies/device-policy.json``.
        device_policy: the same for the certificate ``device_cert``; with None, the thing's name is
            allowed as client id, too.

    Attributes, set by `wait_ready` but for the first three:
        endpoint: host name of the MQTT endpoint.
        region: the AWS region that it plays.
        thing: the thing's name; both certificates are attached to the thing.
        port: port of the MQTT endpoint, for mutual TLS.
        ca_file: path of the CA that signed the endpoint's certificate, PEM.
        cert, key: paths of a certificate and its private key, PEM, for the program's own
            connection.
        device_cert, device_key: the same for the device under test.
        endpoint_url: URL of the control plane and of the Jobs data plane over HTTP.
        environment: the operator's credentials, region and endpoint as the ``AWS_…`` variables of
            AWS's tools. They hold the shipped control plane policy.

    Raises:
        StartError: a policy cannot be used, or the local extra is not installed.

    """

    port: int
    ca_file: str
    cert: str
    key: str
    device_cert: str
    device_key: str
    endpoint_url: str
    environment: dict[str, str]

    def __init__(
        self,
        thing: str = "SandboxThing",
        *,
        policy: str | None = None,
        device_policy: str | None = None,
    ) -> None:
        if not is_thing_name(thing):
            raise StartError(f"{thing!r} is not a thing name: 1 to 128 letters, digits, :, _ and -")
        self.endpoint = _endpoint()
        self.region = REGION
        self.thing = thing
        device_policies = [device_policy_for(thing, device_policy)]
        self._wildcards = wildcards(device_policies[0])
        if device_policy is None:
            device_policies.append(fill_in(_OWN_CLIENT_ID, thing=thing))
        self._provision = {
            "thing": thing,
            "policy": device_policy_for(thing, policy),
            "device_policies": device_policies,
            "control_plane_policy": fill_in(shipped_policy("control-plane-policy"), thing=thing),
        }
        if not all(importlib.util.find_spec(name) for name in ("ministack", "cryptography")):
            raise StartError(
                "--local needs the local extra, which is not installed",
                cause="jobs-sandbox was installed without it",
                next_step="pip install '.[local]' in a clone of jobs-sandbox.",
            )
        self._process: Any = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the child process.

        Raises:
            StartError: the system does not allow it.

        """
        try:
            self._folder = TemporaryDirectory(prefix="jobs-sandbox-", ignore_cleanup_errors=True)
        except OSError as error:
            raise _not_started(str(error)) from error
        folder = Path(self._folder.name)
        try:
            with (folder / _LOG).open("wb") as log:
                self._process = subprocess.Popen(
                    _COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=_environment() | ministack_settings(folder),
                    # Ctrl-C in the terminal is for the program, not for the child.
                    start_new_session=True,
                )
        except OSError as error:
            self._folder.cleanup()
            raise _not_started(str(error)) from error
        # `wait_ready` reports a child that has ended.
        with suppress(BrokenPipeError):
            self._send(self._provision)

    def wait_ready(self) -> None:
        """Wait until a client can connect.

        Raises:
            StartError: it did not start.

        """
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(_START_TIMEOUT * 1000):
            raise _not_started(f"no answer within {_START_TIMEOUT:g} s")
        try:
            report = self._receive()
        except EOFError as error:
            raise _not_started(self._last_words()) from error
        if "error" in report:
            raise _not_started(report["error"])
        self.port = report["port"]
        self.ca_file = report["ca_file"]
        self.cert = report["cert"]
        self.key = report["key"]
        self.device_cert = report["device_cert"]
        self.device_key = report["device_key"]
        self.endpoint_url = report["endpoint_url"]
        self.environment = report["keys"] | {
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint_url,
        }

    def request(self, name: str, **arguments: object) -> Any:
        """Send a request to the child, and wait for its result.

        Several threads may call this.

        Raises:
            SandboxError: the child refuses, or has ended.

        """
        try:
            # The next caller waits until this answer has been read, so it gets its own.
            with self._lock:
                self._send({"name": name, "arguments": arguments})
                answer = self._receive()
        except (EOFError, BrokenPipeError) as error:
            raise SandboxError(
                "the local AWS IoT has ended", next_step="quit, and start again."
            ) from error
        if "error" in answer:
            raise SandboxError(answer["error"])
        return answer["result"]

    def fault(
        self,
        kind: str,
        client_id: str | None = None,
        *,
        detail: str = "",
        seconds: float = 0,
        times: int | None = 1,
        code: str = "",
        reason: int | None = None,
    ) -> None:
        """Cause a fault on the wire of a device, or end faults.

        | kind | detail | what happens |
        |---|---|---|
        | disconnect | | the connection ends, under MQTT 5 with the ``reason`` code, if given |
        | refuse | close | for ``seconds``, new connections are closed |
        | refuse | hold, busy | for ``seconds``, they get no CONNACK, or "server busy" |
        | silence | | for ``seconds``, nothing passes in either direction |
        | lose | operation | the request is carried out, and its response lost |
        | delay | operation | the response comes ``seconds`` later |
        | reject | operation | the request is rejected with the ``code`` |
        | events | twice, never | notify and notify-next come twice, or never |
        | events | late | they come ``seconds`` later |
        | events | early | the queue shows new executions ``seconds`` after their events |
        | withhold | PUBACK, SUBACK, PINGRESP | the packet is not sent |
        | take-over | | another client connects with the client id, and leaves; for ``seconds`` |
        | | | it does so again whenever the device is back |
        | forget-session | | the persistent session is gone |
        | certificate | unknown-ca, other-name, expired, right | the endpoint shows it to everyone |
        | none | | all faults end |

        An operation is ``get``, ``start-next``, ``describe`` or ``update``.

        Args:
            kind: see the table.
            client_id: of the device; None is whoever connects with ``device_cert``.
            detail: see the table.
            seconds: see the table.
            times: how often lose, delay, reject, events and withhold take effect; None is always.
            code: of the rejection, for example ``RequestThrottled``.
            reason: MQTT 5 reason code.

        Raises:
            SandboxError: the fault is unknown, or a disconnect, take-over or forget-session at once
                finds no connection and no session; or the child has ended.

        """
        self.request(
            "fault",
            kind=kind,
            client_id=client_id,
            detail=detail,
            seconds=seconds,
            times=times,
            code=code,
            reason=reason,
        )

    def activity(self, client_id: str | None = None) -> dict[str, Any]:
        """The connections, requests and events of a device, as the embedded AWS IoT records them.

        Args:
            client_id: of the device; None is whoever connects with ``device_cert``.

        Returns:
            ``clients``: for each client id, ``client_id``, ``connected``, ``since`` (seconds since
            the epoch; None if it never connected), ``subscriptions`` and the number of
            ``unacknowledged`` messages. ``log``: what happened, in order of time; its entries are
            described in `jobs_sandbox.local.child.activity`. ``wildcards``: those in the policy of
            ``device_cert`` that stand for everything.

        Raises:
            SandboxError: the child has ended.

        """
        result: dict[str, Any] = self.request("activity", client_id=client_id)
        return result | {"wildcards": self._wildcards}

    def wait_ended(self) -> str:
        """Wait until the child has ended; returns ``exit status 1`` or ``signal 9``."""
        status = self._process.wait()
        return f"exit status {status}" if status >= 0 else f"signal {-status}"

    def stop(self) -> None:
        """End the child, within 3 s, and remove its files."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Another thread that waits for an answer has seen the end by now.
        with self._lock:
            self._process.stdout.close()
        self._folder.cleanup()

    def _send(self, message: object) -> None:
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """The next line from the child; raises EOFError."""
        line = self._process.stdout.readline()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        return message

    def _last_words(self) -> str:
        log = (Path(self._folder.name) / _LOG).read_text(encoding="utf-8", errors="replace")
        return log.strip().rpartition("\n")[2] or self.wait_ended()


@contextmanager
def local_iot(
    thing: str = "SandboxThing", *, policy: str | None = None, device_policy: str | None = None
) -> Iterator[LocalIoT]:
    """Run an embedded AWS IoT, and stop it in the end; arguments and errors as of `LocalIoT`."""
    local = LocalIoT(thing, policy=policy, device_policy=device_policy)
    local.start()
    try:
        local.wait_ready()
        yield local
    finally:
        local.stop()


def _not_started(reason: str) -> StartError:
    return StartError(
        f"the local AWS IoT did not start: {reason}",
        cause="a limit of this machine (open files, processes, memory, disk), or the local extra "
        "is damaged",
        next_step="raise the limit (`ulimit -n`), or name a folder with free space in TMPDIR; if "
        "it stays, pip install --force-reinstall '.[local]' in a clone of jobs-sandbox.",
    )


def _environment() -> dict[str, str]:
    """The variables that a Python process needs. MiniStack would read others as settings."""
    needed = ("PATH", "LANG", "HOME", "VIRTUAL_ENV")
    return {
        name: value
        for name, value in os.environ.items()
        if name in needed or name.startswith(("LC_", "PYTHON"))
    }


def _endpoint() -> str:
    """`ENDPOINT`, or `HOST` if this machine has another address for that name."""
    try:
        found = socket.getaddrinfo(ENDPOINT, None, socket.AF_INET)
    except OSError:
        return HOST
    return ENDPOINT if HOST in [address[0] for *_, address in found] else HOST


def ministack_settings(folder: Path) -> dict[str, str]:
    """MiniStack's settings, from its README: a quiet AWS account that enforces policies."""
    return {
        "AUTH": "true",
        "BIND_HOST": HOST,
        "IOT_MTLS_ENABLED": "1",
        "LOG_LEVEL": "ERROR",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "PERSIST_STATE": "0",
        "SERVICES": "iot,iot-jobs-data,iam,sts",
        "TMPDIR": str(folder),
    }
