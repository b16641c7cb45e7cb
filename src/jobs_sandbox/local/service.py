"""The embedded AWS IoT of ``--local``, seen from the program: start it, stop it, tell how to join it.

The child is `jobs_sandbox.local.child`; it ends when its standard input does, however this process dies.
"""

import importlib.util
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.jobs import is_thing_name
from jobs_sandbox.local import ACCOUNT, HOST, REGION
from jobs_sandbox.local.folder import locked_folder
from jobs_sandbox.local.policies import check_device_policy, fill_in, shipped_policy, unusable

_START_TIMEOUT = 20.0  # seconds; it takes less than one
_STOP_TIMEOUT = 3.0
_COMMAND = (
    sys.executable,
    "-P",
    "-m",
    "jobs_sandbox.local.child",
)  # -P: no modules of the folder we are in


@dataclass(frozen=True)
class LocalIoT:
    """An embedded AWS IoT that runs: what a client needs to join it.

    Attributes:
        endpoint: the MQTT endpoint, a host of loopback.
        port: its port, for mTLS.
        ca_file: path of the CA that signed the endpoint's certificate, PEM.
        cert: path of the device's certificate, PEM.
        key: path of its private key, PEM.
        region: the AWS region that it plays.
        thing: the thing; it exists, and the certificate is attached to it.
        endpoint_url: the control plane's and the Jobs data plane's, HTTP.
        environment: the operator's credentials, region and endpoint, as the environment variables of AWS's tools. They
            hold the shipped control plane policy, and are as short-lived as all the rest.
        warnings: what is not as it should be, one sentence each.

    """

    endpoint: str
    port: int
    ca_file: str
    cert: str
    key: str
    region: str
    thing: str
    endpoint_url: str
    environment: dict[str, str] = field(repr=False)
    warnings: tuple[str, ...] = ()
    _process: Any = field(default=None, repr=False, compare=False)

    def apply_to(self, environ: MutableMapping[str, str]) -> None:
        """Make the AWS settings in a process's environment this one's alone.

        No profile, key or endpoint of another account stays in it, and no proxy gets between.
        """
        isolate(environ)
        environ.update(self.environment)

    def wait_ended(self) -> str:
        """Wait until it has ended, by itself or because the context was left; how: ``exit status 1``, ``signal 9``."""
        status = self._process.wait()
        return f"exit status {status}" if status >= 0 else f"signal {-status}"


def isolate(environ: MutableMapping[str, str]) -> None:
    """Take every AWS setting out of a process's environment, so that none is found in files either, and the proxies."""
    for name in [name for name in environ if name.startswith("AWS_")]:
        del environ[name]
    environ.update(
        AWS_CONFIG_FILE=os.devnull,
        AWS_SHARED_CREDENTIALS_FILE=os.devnull,
        AWS_EC2_METADATA_DISABLED="true",
        NO_PROXY=HOST,
        no_proxy=HOST,  # where both are set, this one counts
    )


@contextmanager
def local_iot(thing: str = "SandboxThing", *, policy: str | None = None) -> Iterator[LocalIoT]:
    """Run an embedded AWS IoT, with a thing, its certificate and an operator in it, and stop it in the end.

    Nothing of it is left in the end, nor if this process is killed. This process's environment is not changed
    (`LocalIoT.apply_to` does); no thread is started.

    Args:
        thing: the thing's name, ``[a-zA-Z0-9:_-]{1,128}``.
        policy: the device policy to enforce, JSON text in which ``<region>``, ``<account>`` and ``<thingname>`` are
            filled in; None is the shipped ``policies/device-policy.json``.

    Raises:
        StartError: the policy cannot be used, the local extra is not installed, or the start failed.

    """
    with starting_local_iot(thing, policy=policy) as ready:
        yield ready()


@contextmanager
def starting_local_iot(thing: str, *, policy: str | None) -> Iterator[Callable[[], LocalIoT]]:
    """Run one as `local_iot` does, but go on while it starts.

    Yields:
        What waits until it has started; it raises `StartError`, too.

    """
    if not is_thing_name(thing):
        raise StartError(f"{thing!r} is not a thing name: 1 to 128 letters, digits, :, _ and -")
    device_policy = fill_in(
        shipped_policy("device-policy") if policy is None else policy, thing=thing
    )
    check_device_policy(device_policy)
    if (
        importlib.util.find_spec("ministack") is None
        or importlib.util.find_spec("cryptography") is None
    ):
        raise StartError(
            "--local needs the local extra, which is not installed",
            cause="jobs-sandbox was installed without it",
            next_step="pip install '.[local]' in a clone of jobs-sandbox.",
        )
    request = {
        "thing": thing,
        "device_policy": device_policy,
        "control_plane_policy": fill_in(shipped_policy("control-plane-policy"), thing=thing),
    }
    with ExitStack() as stack:
        try:
            folder, lock = stack.enter_context(locked_folder())
            process = stack.enter_context(_child(folder, lock))
            with suppress(BrokenPipeError):  # it has ended; why, its last words tell
                process.stdin.write(json.dumps(request).encode() + b"\n")
                process.stdin.flush()
        except OSError as error:
            raise _not_started(
                str(error), "a limit of this machine: files, processes, memory, disk"
            ) from error
        yield lambda: _started(process, folder, thing)


def _started(process: Any, folder: Path, thing: str) -> LocalIoT:
    report = _report(process, folder)
    if "refused" in report:
        raise unusable(f"MiniStack refuses it: {report['refused']}")
    keys, warnings = report.pop("keys"), report.pop("warnings")
    return LocalIoT(
        endpoint=HOST,
        region=REGION,
        thing=thing,
        environment=keys
        | {"AWS_DEFAULT_REGION": REGION, "AWS_ENDPOINT_URL": report["endpoint_url"]},
        warnings=tuple(warnings),
        _process=process,
        **report,
    )


@contextmanager
def _child(folder: Path, lock: int) -> Iterator[Any]:
    """The process that runs MiniStack, until the context is left."""
    with (folder / "ministack.log").open("wb") as log:
        process: Any = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment() | ministack_settings(folder),
            pass_fds=(
                lock,
            ),  # if this process is killed, the child still needs its folder for a moment
            start_new_session=True,  # Ctrl-C in the terminal is for the prompt, not for the child
        )
    try:
        yield process
    finally:
        with suppress(BrokenPipeError):  # what was written to a child that had ended
            process.stdin.close()
        if not _readable(process.stdout, _STOP_TIMEOUT):  # it writes nothing more: that is its end
            process.kill()
        process.wait()
        process.stdout.close()


def _report(process: Any, folder: Path) -> dict[str, Any]:
    """What the child tells when it is ready.

    Raises:
        StartError: it is not, and its last words.

    """
    received = b""
    end = time.monotonic() + _START_TIMEOUT
    while not received.endswith(b"\n"):
        if not _readable(process.stdout, end - time.monotonic()):
            raise _not_started(
                "no answer", "a machine under heavy load, or the local extra is damaged"
            )
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            words = (folder / "ministack.log").read_text(encoding="utf-8", errors="replace").strip()
            raise _not_started(words.rpartition("\n")[2], "the local extra is damaged")
        received += chunk
    report: dict[str, Any] = json.loads(received)
    return report


def _readable(pipe: IO[bytes], seconds: float) -> bool:
    """Whether something, or its end, can be read from a pipe within some seconds."""
    with (
        selectors.DefaultSelector() as selector
    ):  # unlike select.select, for any number of open files
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


def _not_started(reason: str, cause: str) -> StartError:
    return StartError(
        f"the local AWS IoT did not start: {reason}",
        cause=cause,
        next_step="try again; if it stays, pip install --force-reinstall '.[local]' in a clone of jobs-sandbox.",
    )


def _environment() -> dict[str, str]:
    """What a Python process needs of ours: much else would be a setting to MiniStack."""
    needed = ("PATH", "LANG", "HOME", "VIRTUAL_ENV")
    return {
        name: value
        for name, value in os.environ.items()
        if name in needed or name.startswith(("LC_", "PYTHON"))
    }


def ministack_settings(folder: Path) -> dict[str, str]:
    """MiniStack's settings, as its README names them: a quiet AWS account that enforces policies."""
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
