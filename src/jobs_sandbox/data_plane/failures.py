"""The device SDK's errors in plain words: what happened, the likely cause, the next step."""

from typing import Any

from awscrt import mqtt5

from jobs_sandbox.core.blocks import TOPICS
from jobs_sandbox.core.errors import RequestFailed, StartError

_ALLOW = (
    "allow it in a policy of the certificate (with --local, in the FILE of --policy); "
    "policies/device-policy.json has all that this program needs."
)


def jobs_topic(thing: str, title: str) -> str:
    """The topic of a thing's request or event of this title, with ``*`` for the job id."""
    return f"$aws/things/{thing}/jobs/{TOPICS[title]}"


def connection_cause(error: Any, packet: Any) -> str:
    """Why a connection ended or failed, in the words of the broker's packet or else of the SDK."""
    # The SDK gives None for a code that it does not know.
    code = packet and packet.reason_code
    if code is None:
        return str(error)
    cause = f"{code.name} ({code:d})"
    if packet.reason_string:
        cause += f": {' '.join(packet.reason_string.split())}"
    if code == mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
        cause += ": another client connected with the same client id"
    return cause


def not_connected(client_id: str, connack: Any) -> StartError:
    """The endpoint answered the first connection with a CONNACK that ended it."""
    cause = "the endpoint is busy or limits connections, or does not take this client id"
    next_step = "try again in a moment, or with another --client-id."
    if connack.reason_code == mqtt5.ConnectReasonCode.NOT_AUTHORIZED:
        cause = f"no policy of the certificate allows iot:Connect on client/{client_id}"
        next_step = (
            "attach policies/device-policy.json, filled in, or name a client id that your policy "
            "allows with --client-id."
        )
    return StartError(
        f"the endpoint refused the connection: {connection_cause(None, connack)}",
        cause=cause,
        next_step=next_step,
    )


def stream_refused(thing: str, title: str, error: Any) -> StartError:
    """The broker refused a stream's subscription."""
    return StartError(
        f"the {title} stream was refused its subscription ({error.name})",
        cause="no policy of the certificate allows iot:Subscribe on "
        f"topicfilter/{jobs_topic(thing, title)}",
        next_step=_ALLOW,
    )


def unanswered(topic: str, seconds: float, trouble: str) -> RequestFailed:
    """The error of a request without an answer.

    Args:
        topic: the request's, with ``*`` for the job id.
        seconds: the time since it was sent.
        trouble: what was wrong with the connection meanwhile, or ``""``.

    """
    # AWS IoT answers a publish or subscription that no policy allows, but drops silently a message
    # that the device may not receive.
    cause = (
        "a slow network or service; or no policy of the certificate allows iot:Receive on "
        f"topic/{topic}/* (the answer)"
    )
    next_step = (
        "try again; if it stays, compare the certificate's policy with policies/device-policy.json."
    )
    if trouble:
        cause = trouble
        next_step = (
            "repeat this after the reconnect, which is tried until it succeeds. If it never does: "
            "the network is down, or the endpoint was a --local that has ended; start that again."
        )
    return RequestFailed(
        f"no answer within {seconds:g} s", cause=cause, next_step=next_step, uncertain=True
    )


def request_failed(topic: str, error: Any, seconds: float, trouble: str) -> RequestFailed:
    """The error of a request that the SDK gives up; the other arguments are as in `unanswered`."""
    if trouble or error.name == "AWS_ERROR_MQTT_REQUEST_RESPONSE_TIMEOUT":
        return unanswered(topic, round(seconds, 1), trouble)
    # The SDK hides the reason codes of PUBACK and SUBACK; most often, a policy is the reason.
    missing = {
        "AWS_ERROR_MQTT_REQUEST_RESPONSE_PUBLISH_FAILURE": f"iot:Publish on topic/{topic}",
        "AWS_ERROR_MQTT_REQUEST_RESPONSE_SUBSCRIBE_FAILURE": (
            f"iot:Subscribe on topicfilter/{topic}/*"
        ),
    }.get(error.name)
    if missing is None:
        return RequestFailed(f"the request failed: {error}", uncertain=True)
    return RequestFailed(
        f"the request was refused ({error.name})",
        cause=f"no policy of the certificate allows {missing}",
        next_step=_ALLOW,
    )
