"""A request over MQTT: where its answer comes, and what would explain that it does not. Knows no SDK."""

from typing import Any

from jobs_sandbox.blocks import Pending
from jobs_sandbox.data_plane.connection import Connection
from jobs_sandbox.errors import RequestFailed

ATTACH = "attach policies/device-policy.json, filled in, to the certificate."


class Request(Pending):
    """A request over MQTT, which knows what would explain its failure.

    Attributes:
        title: of its answer.
        topic: what it is published to.
        answer_topics: where its answer is published.

    """

    def __init__(self, title: str, policy_topic: str, job_id: str, connection: Connection) -> None:
        super().__init__()
        self.title = title
        self.topic = policy_topic.replace("*", job_id)
        self.answer_topics = [f"{self.topic}/accepted", f"{self.topic}/rejected"]
        self._policy_topic = policy_topic
        self._connection = connection
        self._losses = connection.losses if connection.up else -1

    def unanswered(self, seconds: float) -> RequestFailed:
        """No answer: because the connection is or was down, or because a policy drops it without a word."""
        what, topic = f"no answer within {seconds:g} s", self._policy_topic
        if cause := self._broken_link():
            return RequestFailed(what, cause=cause, uncertain=True)
        return RequestFailed(
            what,
            cause="a slow network or service; or no policy of the certificate allows "
            f"iot:Receive on topic/{topic}/* (the answer) or iot:Publish on topic/{topic} (the request)",
            next_step="try again; if it stays, compare the certificate's policy with policies/device-policy.json.",
            uncertain=True,
        )

    def failed(self, error: Any, seconds: float) -> RequestFailed:
        """What an error of the SDK means, as far as the state of the connection tells."""
        name = error.name.removeprefix("AWS_ERROR_MQTT_REQUEST_RESPONSE_")
        if name == "TIMEOUT":
            return self.unanswered(seconds)
        if cause := self._broken_link():
            return RequestFailed(f"the request failed with the connection: {error.name}", cause=cause, uncertain=True)
        missing = {
            "PUBLISH_FAILURE": f"iot:Publish on topic/{self._policy_topic}",
            "SUBSCRIBE_FAILURE": f"iot:Subscribe on topicfilter/{self._policy_topic}/*",
        }.get(name)
        if not missing:
            return RequestFailed(f"the request failed: {error.name}: {error.message}", uncertain=True)
        cause = f"no policy of the certificate allows {missing}"
        return RequestFailed(f"the request was refused ({error.name})", cause=cause, next_step=ATTACH)

    def _broken_link(self) -> str:
        if not self._connection.up:
            return f"the connection is down: {self._connection.cause}"
        if self._connection.losses != self._losses:
            return f"the connection was lost meanwhile: {self._connection.cause}"
        return ""
