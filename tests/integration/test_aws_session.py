"""The session that is meant for AWS runs against the embedded AWS IoT as well."""

import os
import subprocess
import sys

from jobs_sandbox import local_iot
from tests.support.aws.account import ROOT
from tests.support.waiting import until


def jobs_left(environment: dict[str, str]) -> str:
    code = "import boto3; print(boto3.client('iot').list_jobs()['jobs'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


def test_the_session_for_aws() -> None:
    """Every question for AWS has its answer here, too, and the session leaves no job behind."""
    with local_iot("Lamp") as running:
        inherited = {name: os.environ[name] for name in os.environ if not name.startswith("AWS_")}
        environment = inherited | running.environment
        environment |= {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_ACCESS_KEY_ID": ROOT[0],
            "AWS_SECRET_ACCESS_KEY": ROOT[1],
            "IOT_ENDPOINT": running.endpoint,
            "IOT_PORT": str(running.port),
            "IOT_CA_FILE": running.ca_file,
            "IOT_CERT": running.cert,
            "IOT_KEY": running.key,
            "IOT_REGION": running.region,
            "IOT_THING": running.thing,
            "IOT_SETTLE": "0.3",
            "PYTEST_ADDOPTS": "",
        }
        session = "-m pytest -m aws tests/aws -n 0 -p no:cacheprovider -q"
        done = subprocess.run(
            [sys.executable, *session.split()],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "test_a_persistent_session: the session was found again" in done.stdout
        # Deletions take a second.
        until(lambda: "[]" in jobs_left(environment))
