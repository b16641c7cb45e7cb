"""A real MiniStack for tests, and devices and operators in it with policies of the test's choice."""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from jobs_sandbox.control_plane.client import new_client
from jobs_sandbox.local import ACCOUNT, REGION
from jobs_sandbox.local.policies import fill_in, shipped_policy
from jobs_sandbox.local.service import LocalIoT, local_iot

ROOT = ("test", "test")
PATIENCE = 15.0  # seconds


class Device(NamedTuple):
    """A thing's certificate on disk."""

    thing: str
    cert: str
    key: str
    certificate_arn: str


class Account:
    """A running MiniStack with AUTH=true; its root makes things, certificates and operators."""

    def __init__(self, local: LocalIoT, folder: Path) -> None:
        self.local = local
        self.folder = folder
        self.iot = self.client("iot", ROOT)
        self.iam = self.client("iam", ROOT)
        self._environment = dict(local.environment)

    def client(self, service: str, keys: tuple[str, str]) -> Any:
        return new_client(service, region=REGION, endpoint_url=self.local.endpoint_url, keys=keys)

    def device(self, thing: str | None = None, policy_document: str | None = "shipped") -> Device:
        """A certificate for a thing (which is not created); None attaches no policy at all."""
        thing = thing or f"Thing-{uuid.uuid4().hex[:8]}"
        identity = self.iot.create_keys_and_certificate(setAsActive=True)
        name = uuid.uuid4().hex
        folder = self.folder / name
        folder.mkdir()
        cert, key = folder / "certificate.pem", folder / "private.key"
        cert.write_text(identity["certificatePem"])
        key.touch(mode=0o600)
        key.write_text(identity["keyPair"]["PrivateKey"])
        if policy_document is not None:
            if policy_document == "shipped":
                policy_document = self.policy("device-policy", thing)
            self.iot.create_policy(policyName=name, policyDocument=policy_document)
            self.iot.attach_policy(policyName=name, target=identity["certificateArn"])
        return Device(thing, str(cert), str(key), identity["certificateArn"])

    def operator(self, thing: str, policy_document: str | None = None) -> dict[str, str]:
        """The AWS environment of a user who holds the shipped control plane policy for a thing, or another."""
        name = uuid.uuid4().hex
        self.iam.create_user(UserName=name)
        document = policy_document or self.policy("control-plane-policy", thing)
        self.iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=document)
        keys = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def policy(self, name: str, thing: str) -> str:
        return fill_in(shipped_policy(name), thing=thing)

    def create_job(
        self, thing: str, job_id: str | None = None, document: object = None, *, wait: bool = True
    ) -> str:
        """A job that targets the thing, created by root behind the program's back; its execution is there."""
        job_id = job_id or f"Job-{uuid.uuid4().hex[:8]}"
        target = f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{thing}"
        self.iot.create_job(
            jobId=job_id,
            targets=[target],
            document=json.dumps({} if document is None else document),
            targetSelection="SNAPSHOT",
        )
        end = time.monotonic() + PATIENCE
        while wait and not self.iot.list_job_executions_for_job(jobId=job_id)["executionSummaries"]:
            assert time.monotonic() < end
            time.sleep(0.02)
        return job_id

    def delete_job(self, job_id: str) -> None:
        """Delete a job, and wait until its id is free."""
        self.iot.delete_job(jobId=job_id)
        end = time.monotonic() + PATIENCE
        while job_id in {job["jobId"] for job in self.iot.list_jobs()["jobs"]}:
            assert time.monotonic() < end
            time.sleep(0.05)

    def queue(self, thing: str, *names: str) -> list[str]:
        """Jobs for the thing, queued one after the other, with ids that are in no other test's way."""
        job_ids = [f"{thing}-{name}" for name in names]
        for job_id in job_ids:
            self.create_job(thing, job_id, wait=job_id == job_ids[-1])
        return job_ids

    def arguments(self, device: Device, **options: str) -> list[str]:
        """The command line that runs the program as this device."""
        given = {
            "port": str(self.local.port),
            "ca-file": self.local.ca_file,
            "endpoint-url": self.local.endpoint_url,
        }
        pairs = [
            (f"--{name.replace('_', '-')}", value) for name, value in (given | options).items()
        ]
        return [
            self.local.endpoint,
            device.cert,
            device.key,
            REGION,
            device.thing,
            *(word for pair in pairs for word in pair),
        ]


@contextmanager
def running_account(folder: Path) -> Iterator[Account]:
    """A MiniStack of one's own."""
    with local_iot("Unused") as local:
        yield Account(local, folder)
