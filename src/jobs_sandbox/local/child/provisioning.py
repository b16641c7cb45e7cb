"""Makes what the embedded AWS IoT holds from the start: a thing, two certificates, an operator.

Runs in MiniStack's process and calls its services as its HTTP server does, without a network.
"""

import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from ministack.core import responses
from ministack.services import iam, iot

from jobs_sandbox.local import ACCOUNT, REGION


async def provision(
    folder: Path,
    *,
    thing: str,
    policy: str,
    device_policies: list[str],
    control_plane_policy: str,
) -> dict[str, Any]:
    """Make a thing, its certificates, and an operator.

    Args:
        folder: where the certificates and their keys are written.
        thing: its name.
        policy: the policy of the program's certificate, JSON text.
        device_policies: the policies of the certificate of the device under test.
        control_plane_policy: the operator's policy.

    Returns:
        The paths ``ca_file``, ``cert``, ``key``, ``device_cert`` and ``device_key``;
        ``device_certificate_id``; and ``keys``, the operator's ``AWS_…`` variables.

    """
    with responses.request_scope(ACCOUNT, REGION):
        await _iot("POST", f"/things/{thing}", {})
        program = await _iot("POST", "/keys-and-certificate", query={"setAsActive": "true"})
        private_key = program["keyPair"]["PrivateKey"]
        # The device has the same key: to make another one takes up to 150 ms.
        request = {"certificateSigningRequest": _signing_request(private_key)}
        device = await _iot("POST", "/certificates", request, query={"setAsActive": "true"})
        await _allow(program, thing, "program", [policy])
        await _allow(device, thing, "device", device_policies)
        keys = await _operator(control_plane_policy)
    return {
        "ca_file": _write(folder / "ca.pem", iot.get_ca_cert_pem()),
        "cert": _write(folder / "certificate.pem", program["certificatePem"]),
        "key": _write(folder / "private.key", private_key),
        "device_cert": _write(folder / "device-certificate.pem", device["certificatePem"]),
        "device_key": _write(folder / "device-private.key", private_key),
        "device_certificate_id": device["certificateId"],
        "keys": keys,
    }


def set_content_types() -> None:
    """Tell MiniStack the content type of answers.

    To find it out, MiniStack would load botocore, for more than 100 ms.
    """
    for content_types in (responses._WIRE_CT_OVERRIDE, responses._WIRE_CT_SUCCESS_OVERRIDE):
        content_types |= {"iot": "application/json", "iot-jobs-data": "application/json"}


def _signing_request(private_key: str) -> str:
    key: Any = serialization.load_pem_private_key(private_key.encode(), None)
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


async def _allow(certificate: Any, thing: str, owner: str, policies: list[str]) -> None:
    """Attach policies to a certificate, and it to the thing: policy variables need that."""
    arn = certificate["certificateArn"]
    for number, document in enumerate(policies):
        name = f"{owner}-{number}"
        await _iot("POST", f"/policies/{name}", {"policyDocument": document})
        await _iot("PUT", f"/target-policies/{name}", {"target": arn})
    await _iot("PUT", f"/things/{thing}/principals", headers={"x-amzn-principal": arn})


async def _operator(policy: str) -> dict[str, str]:
    """The access key of a new user with a policy, as the variables of AWS's tools."""
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
    content = b"" if body is None else json.dumps(body).encode()
    answer = await iot.handle_request(method, path, headers or {}, content, query or {})
    return json.loads(_body(answer) or "{}")


async def _iam(action: str, parameters: dict[str, str]) -> str:
    body = urlencode({"Action": action, **parameters}).encode()
    return _body(await iam.handle_request("POST", "/", {}, body, {}))


def _body(answer: tuple[int, object, bytes | str]) -> str:
    status, _, body = answer
    text = body if isinstance(body, str) else body.decode()
    if status != HTTPStatus.OK:
        raise RuntimeError(f"MiniStack refuses a request: {text}")
    return text


def _write(path: Path, content: str) -> str:
    path.touch(mode=0o600)
    path.write_text(content, encoding="ascii")
    return str(path)
