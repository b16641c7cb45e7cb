"""The embedded AWS IoT for tests, and devices and operators in it with policies of their own."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3

from jobs_sandbox.local import ACCOUNT, REGION
from jobs_sandbox.local.policies import fill_in, shipped_policy
from jobs_sandbox.local.service import LocalIoT, local_iot
from tests.support.drivers.program import command_line
from tests.support.waiting import until

ROOT = ("test", "test")
SHIPPED = "shipped"


class Device(NamedTuple):
    """A thing's certificate on disk."""

    thing: str
    cert: str
    key: str
    certificate_arn: str


class Account:
    """A running AWS IoT; its root makes things, certificates, operators and jobs.

    Attributes:
        local: the embedded AWS IoT.
        iot, iam: root's boto3 clients.

    """

    def __init__(self, local: LocalIoT, folder: Path) -> None:
        self.local = local
        self._folder = folder
        self.iot = self.client("iot", ROOT)
        self.iam = self.client("iam", ROOT)

    def client(self, service: str, keys: tuple[str, str]) -> Any:
        """A boto3 client with an access key and a secret key."""
        return boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.local.endpoint_url,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
        )

    def device(self, thing: str | None = None, policy: str | None = SHIPPED) -> Device:
        """A certificate for a thing, which is not created; None attaches no policy."""
        thing = thing or f"Thing-{uuid.uuid4().hex[:8]}"
        identity = self.iot.create_keys_and_certificate(setAsActive=True)
        name = uuid.uuid4().hex
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert.write_text(identity["certificatePem"])
        key.touch(mode=0o600)
        key.write_text(identity["keyPair"]["PrivateKey"])
        if policy is not None:
            document = self.policy("device-policy", thing) if policy == SHIPPED else policy
            self.iot.create_policy(policyName=name, policyDocument=document)
            self.iot.attach_policy(policyName=name, target=identity["certificateArn"])
        return Device(thing, str(cert), str(key), identity["certificateArn"])

    def operator(self, thing: str, policy: str | None = None) -> dict[str, str]:
        """The AWS environment of a user with the shipped policy for a thing, or another."""
        name = uuid.uuid4().hex
        self.iam.create_user(UserName=name)
        document = policy or self.policy("control-plane-policy", thing)
        self.iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=document)
        keys = self.iam.create_access_key(UserName=name)["AccessKey"]
        return {
            "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
        }

    def policy(self, name: str, thing: str) -> str:
        """A shipped policy, filled in for a thing."""
        return fill_in(shipped_policy(name), thing=thing)

    def create_job(self, thing: str, job_id: str | None = None, document: object = None) -> str:
        """A job for a thing that root creates; returns its id when its execution exists."""
        job_id = job_id or f"Job-{uuid.uuid4().hex[:8]}"
        self.iot.create_job(
            jobId=job_id,
            targets=[f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/{thing}"],
            document=json.dumps({} if document is None else document),
            targetSelection="SNAPSHOT",
        )
        until(lambda: self.iot.list_job_executions_for_job(jobId=job_id)["executionSummaries"])
        return job_id

    def delete_job(self, job_id: str) -> None:
        """Delete a job, and wait until its id is free."""
        self.iot.delete_job(jobId=job_id)
        until(lambda: job_id not in [job["jobId"] for job in self.iot.list_jobs()["jobs"]])

    def queue(self, thing: str, *names: str) -> list[str]:
        """Jobs for a thing, one after the other, with ids that no other test uses."""
        return [self.create_job(thing, f"{thing}-{name}") for name in names]

    def arguments(self, device: Device, **options: str) -> list[str]:
        """The command line that runs the program as this device."""
        given = {
            "port": str(self.local.port),
            "ca_file": self.local.ca_file,
            "endpoint_url": self.local.endpoint_url,
        }
        endpoint = self.local.endpoint
        return command_line(endpoint, device.cert, device.key, device.thing, **(given | options))


@contextmanager
def running_account(folder: Path) -> Iterator[Account]:
    """An embedded AWS IoT of one's own."""
    with local_iot("Unused") as local:
        yield Account(local, folder)
