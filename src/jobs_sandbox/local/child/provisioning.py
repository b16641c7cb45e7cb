"""What the embedded AWS IoT holds from the start: a thing with its certificate, and an operator with keys.

Runs in MiniStack's own process and calls its services as its HTTP front does: no network, no retry.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from jobs_sandbox.local import ACCOUNT, REGION


class Refused(Exception):
    """MiniStack refused a request; its words."""


async def provision(
    folder: Path, *, thing: str, device_policy: str, control_plane_policy: str
) -> dict[str, Any]:
    """Make a thing, its certificate with the device policy, and an operator with the control plane policy.

    Args:
        folder: where ``ca.pem``, ``certificate.pem`` and ``private.key`` are written.
        thing: its name. It is attached to the certificate, so that ``iot:Connection.Thing`` variables hold.
        device_policy: JSON text.
        control_plane_policy: JSON text.

    Returns:
        The paths ``ca_file``, ``cert`` and ``key``, and ``keys``, the operator's ``AWS_…`` variables.

    Raises:
        Refused: a policy is not what MiniStack accepts.

    """
    from ministack.core.responses import request_scope
    from ministack.services import iot

    with request_scope(ACCOUNT, REGION):
        with _quick_keys():
            iot._mtls_ensure_server_cert()  # it and the CA would be made for the first client
        await _iot("POST", "/policies/device", {"policyDocument": device_policy})
        identity = await _iot("POST", "/keys-and-certificate", query={"setAsActive": "true"})
        certificate = identity["certificateArn"]
        await _iot("PUT", "/target-policies/device", {"target": certificate})
        await _iot("POST", f"/things/{thing}", {})
        await _iot("PUT", f"/things/{thing}/principals", headers={"x-amzn-principal": certificate})
        keys = await _operator(control_plane_policy)
    contents = {
        "ca_file": ("ca.pem", iot.get_ca_cert_pem()),
        "cert": ("certificate.pem", identity["certificatePem"]),
        "key": ("private.key", identity["keyPair"]["PrivateKey"]),
    }
    return {
        field: _write(folder / name, content) for field, (name, content) in contents.items()
    } | {"keys": keys}


async def make_ready() -> None:
    """Do what MiniStack would do at the first request of each kind, and spare it what is not needed for that.

    To know the content type of an answer it would load botocore, which takes longer than all the rest.
    """
    from ministack import app
    from ministack.core import iam_actions, responses
    from ministack.services import iot

    for content_types in (responses._WIRE_CT_OVERRIDE, responses._WIRE_CT_SUCCESS_OVERRIDE):
        content_types.update(dict.fromkeys(("iot", "iot-jobs-data"), "application/json"))
    app._get_module(
        "apigateway_v1"
    )  # it is asked whether the host of a request is a domain of its own
    iam_actions._get_routes_for_service("iot")
    await iot._mtls_context()


@contextmanager
def _quick_keys() -> Iterator[None]:
    """Let MiniStack make EC keys, P-256, where it makes RSA ones, for its CA and its listener.

    An RSA key takes 20 to 200 ms. AWS IoT's own endpoints offer both kinds; the device's key stays RSA, as AWS's are.
    """
    from cryptography.hazmat.primitives.asymmetric import ec
    from ministack.core import x509_utils

    x509_utils._require_crypto()  # it imports what is replaced
    rsa = x509_utils.rsa
    x509_utils.rsa = SimpleNamespace(
        generate_private_key=lambda **_: ec.generate_private_key(ec.SECP256R1())
    )
    try:
        yield
    finally:
        x509_utils.rsa = rsa


async def _operator(policy: str) -> dict[str, str]:
    """A user who may do what the policy says: the access key, as a process's environment names it."""
    user = {"UserName": "operator"}
    await _iam("CreateUser", user)
    await _iam("PutUserPolicy", user | {"PolicyName": "control-plane", "PolicyDocument": policy})
    answer = await _iam("CreateAccessKey", user)
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    return {name: re.findall(f"<{tag}>(.+?)</{tag}>", answer)[0] for name, tag in names.items()}


async def _iot(
    method: str,
    path: str,
    body: object = None,
    *,
    query: dict[str, str] | None = None,
    headers: Any = None,
) -> Any:
    from ministack.services import iot

    content = b"" if body is None else json.dumps(body).encode()
    return json.loads(
        _accepted(await iot.handle_request(method, path, headers or {}, content, query or {}))
        or "{}"
    )


async def _iam(action: str, parameters: dict[str, str]) -> str:
    from ministack.services import iam

    body = urlencode({"Action": action, **parameters}).encode()
    return _accepted(await iam.handle_request("POST", "/", {}, body, {}))


def _accepted(answer: tuple[int, object, bytes | str]) -> str:
    status, _, body = answer
    text = body if isinstance(body, str) else body.decode()
    if status != 200:  # noqa: PLR2004
        raise Refused(text)
    return text


def _write(path: Path, content: str) -> str:
    path.touch(mode=0o600)
    path.write_text(content, encoding="ascii")
    return str(path)
