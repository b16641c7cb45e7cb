"""The embedded AWS IoT of ``--local``: MiniStack as a child process, with the shipped policies enforced.

The child is `jobs_sandbox.local.ministack`: it keeps every listener on loopback, and stops, removing its files, when
its standard input ends, which happens however the parent dies.
"""

import importlib
import importlib.util
import os
import select
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from jobs_sandbox.errors import StartError
from jobs_sandbox.local.ministack import HOST, READY
from jobs_sandbox.threads import start_thread

ACCOUNT = "000000000000"
REGION = "us-east-1"
_START_TIMEOUT = 20.0  # seconds; it takes less than one
_STOP_TIMEOUT = 3.0
_ATTEMPTS = 3
_ROOT = ("test", "test")  # MiniStack's root credentials are any


class LocalIoT(NamedTuple):
    """What a client needs to join the embedded AWS IoT; the credentials are as short-lived as it is."""

    endpoint: str
    port: int
    ca_file: str
    cert: str
    key: str
    region: str
    thing: str
    endpoint_url: str
    environment: dict[str, str]

    def join_instructions(self) -> str:
        """How a second client joins, to read and to paste."""
        joined = [self.endpoint, self.cert, self.key, self.region, self.thing]
        options = ["--port", str(self.port), "--ca-file", self.ca_file, "--endpoint-url", self.endpoint_url]
        exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in self.environment.items())
        rows = {
            "endpoint": self.endpoint,
            "port": self.port,
            "CA": self.ca_file,
            "certificate": self.cert,
            "private key": self.key,
            "thing": self.thing,
            "control plane": self.endpoint_url,
        }
        return "\n".join(
            [
                "A local AWS IoT runs for as long as this program does. To join it from another terminal:",
                *(f"  {name + ':':<15}{value}" for name, value in rows.items()),
                f"  export {exports}",
                f"  {_this_program()} {shlex.join(joined + options)}",
            ]
        )


def _this_program() -> str:
    """The command that runs this very program, from any folder and without its virtual environment."""
    script = Path(sys.executable).with_name("jobs-sandbox")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m jobs_sandbox"


def policy(name: str, *, region: str, account: str, thing: str) -> str:
    """A shipped policy (``device-policy`` or ``control-plane-policy``) with its placeholders filled in."""
    shipped = files("jobs_sandbox") / "policies"
    folder = shipped if shipped.is_dir() else Path(__file__).parents[3] / "policies"
    text = (folder / f"{name}.json").read_text(encoding="utf-8")
    return text.replace("<region>", region).replace("<account>", account).replace("<thingname>", thing)


@contextmanager
def local_iot(thing: str, warn: Callable[[str], None] = lambda _: None) -> Iterator[LocalIoT]:
    """Start an embedded AWS IoT, provision a device and an operator in it, and stop it in the end.

    Meanwhile this process's ``AWS_…`` environment is the operator's, and ``warn`` is called, from another thread, if
    the embedded AWS IoT ends by itself.

    Raises:
        StartError: it is not installed, or does not start.

    """
    if importlib.util.find_spec("ministack") is None or importlib.util.find_spec("cryptography") is None:
        raise StartError(
            "--local needs the local extra, which is not installed",
            cause="jobs-sandbox was installed without it",
            next_step="pip install 'jobs-sandbox[local]', or pip install '.[local]' in a clone.",
        )
    with ExitStack() as stack:
        stack.callback(_restore, dict(os.environ))
        _forget_aws()
        try:
            folder, ports = _start(stack, warn)
            local = _provision(folder, thing, *ports)
        except StartError:
            raise
        except Exception as error:  # the system's, boto3's, urllib's
            raise StartError(
                f"the local AWS IoT could not be set up: {error}",
                cause="a limit of this machine (files, processes, memory, disk), or the local extra is damaged",
                next_step="try again; if it stays, pip install --force-reinstall 'jobs-sandbox[local]'.",
            ) from error
        os.environ.update(local.environment)
        yield local


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


def _forget_aws() -> None:
    """No profile, key or endpoint of the user's own account may reach the embedded one, nor a proxy get between."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": HOST,
        "no_proxy": HOST,  # where both are set, this one counts
    }


def _start(stack: ExitStack, warn: Callable[[str], None]) -> tuple[Path, tuple[int, int]]:
    """Start MiniStack until ``stack`` ends: its folder, and the ports of the control plane and the MQTT endpoint."""
    word = ""
    for _ in range(_ATTEMPTS):  # between finding a port and listening on it, another program can take it
        ports = _free_port(), _free_port()
        with ExitStack() as attempt:
            folder, word, child = attempt.enter_context(_ministack(*ports))
            if word == READY:
                stopping = threading.Event()
                attempt.callback(stopping.set)
                start_thread(partial(_watch, child, stopping, warn), "watch")
                stack.push(attempt.pop_all())
                return folder, ports
    raise StartError(
        f"the local AWS IoT did not start: {word}",
        cause="the local extra is damaged, or another program takes its ports",
        next_step="try again; if it stays, pip install --force-reinstall 'jobs-sandbox[local]'.",
    )


@contextmanager
def _ministack(gateway_port: int, mqtt_port: int) -> Iterator[tuple[Path, str, Any]]:
    """A MiniStack in a folder of its own, its first word (that it is ready, or why it is not), and its process."""
    folder = Path(tempfile.mkdtemp(prefix="jobs-sandbox-"))
    child: Any = None
    try:
        log_path = folder / "ministack.log"
        with log_path.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "jobs_sandbox.local.ministack"],  # -P: no modules of the folder we are in
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment() | _ministack_settings(folder, gateway_port, mqtt_port),
                start_new_session=True,  # Ctrl-C in the terminal is for the prompt, not for the child
            )
        importlib.import_module("jobs_sandbox.control_plane.client")  # boto3 loads while MiniStack starts
        readable, _, _ = select.select([child.stdout], [], [], _START_TIMEOUT)
        word = child.stdout.readline().decode().strip() if readable else "no answer"
        word = word or log_path.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        yield folder, word, child
    finally:
        if child is not None:
            child.stdin.close()
            try:
                child.wait(_STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


def _watch(child: Any, stopping: threading.Event, warn: Callable[[str], None]) -> None:
    status = child.wait()
    if not stopping.is_set():
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        warn(f"the local AWS IoT has ended ({how}): quit, and start again; what was in it is lost.")


def _environment() -> dict[str, str]:
    """What a Python process needs of ours: much else would be a setting to MiniStack."""
    needed = ("PATH", "LANG", "HOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name in needed or name.startswith(("LC_", "PYTHON"))}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _ministack_settings(folder: Path, gateway_port: int, mqtt_port: int) -> dict[str, str]:
    return {
        "AUTH": "true",
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(gateway_port),
        "IOT_MTLS_ENABLED": "1",
        "IOT_MTLS_PORT": str(mqtt_port),
        "LOG_LEVEL": "ERROR",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "PERSIST_STATE": "0",
        "SERVICES": "iot,iam,sts",
        "TMPDIR": str(folder),
        "USE_SSL": "0",
    }


def _provision(folder: Path, thing: str, gateway_port: int, mqtt_port: int) -> LocalIoT:
    """A device certificate with the device policy, and an operator's keys with the control plane policy."""
    from jobs_sandbox.control_plane.client import new_client  # loaded while the child started

    url = f"http://{HOST}:{gateway_port}"
    iot, iam = (new_client(service, region=REGION, endpoint_url=url, keys=_ROOT) for service in ("iot", "iam"))
    names = {"region": REGION, "account": ACCOUNT, "thing": thing}

    iot.create_policy(policyName="device", policyDocument=policy("device-policy", **names))
    identity = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_policy(policyName="device", target=identity["certificateArn"])

    iam.create_user(UserName="operator")
    document = policy("control-plane-policy", **names)
    iam.put_user_policy(UserName="operator", PolicyName="control-plane", PolicyDocument=document)
    access_key = iam.create_access_key(UserName="operator")["AccessKey"]

    for name, content in (
        ("ca.pem", _get(f"{url}/_ministack/iot/ca.pem").decode()),
        ("certificate.pem", identity["certificatePem"]),
        ("private.key", identity["keyPair"]["PrivateKey"]),
    ):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(content, encoding="ascii")
    return LocalIoT(
        endpoint=HOST,
        port=mqtt_port,
        ca_file=str(folder / "ca.pem"),
        cert=str(folder / "certificate.pem"),
        key=str(folder / "private.key"),
        region=REGION,
        thing=thing,
        endpoint_url=url,
        environment={
            "AWS_ACCESS_KEY_ID": access_key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": access_key["SecretAccessKey"],
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": url,
        },
    )


def _get(url: str) -> bytes:
    """A GET from loopback, past any proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=_STOP_TIMEOUT) as response:
        body: bytes = response.read()
        return body
