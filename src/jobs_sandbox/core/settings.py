"""The settings of one run: what the command line says, checked, and nothing else."""

import uuid
from typing import NamedTuple

from jobs_sandbox.core.redaction import without_user


def new_client_id(owner: str = "") -> str:
    """A client id that the shipped device policy allows to connect: ``test-<owner><uuid4>``."""
    return f"test-{owner}{uuid.uuid4()}"


class Settings(NamedTuple):
    """One run's settings; ``timeout`` is in seconds, paths are as the user wrote them."""

    endpoint: str
    cert: str
    key: str
    region: str
    thing: str
    client_id: str
    port: int = 8883
    ca_file: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    timeout: float = 5

    @property
    def control_plane(self) -> str:
        """Where the control plane is, to show: an endpoint URL without its user part, or AWS's own."""
        return without_user(self.endpoint_url) if self.endpoint_url else f"AWS IoT in {self.region}"
