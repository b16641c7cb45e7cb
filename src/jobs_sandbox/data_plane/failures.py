"""What the device SDK's errors mean, in words: what happened, the likely cause, the next step. Keeps no state."""

from typing import Any

from awscrt import mqtt5

from jobs_sandbox.core.errors import RequestFailed, StartError
from jobs_sandbox.core.settings import Settings

_ATTACH = (
    "allow it in a policy of the certificate (with --local, in the FILE of --policy); policies/device-policy.json has "
    "all that this program needs."
)
_RECONNECTING = (
    "repeat this when it has reconnected, which it goes on trying. If it never does: the network is down, or the "
    "endpoint was a --local that has ended; start that again."
)
_HINTS = {
    mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER: "another client connected with the same client id: ",
    mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN: "the endpoint is shutting down: ",
}


def error_name(error: Any) -> str:
    """The SDK's name of an error; it gives a few as Python's own exceptions, which have none."""
    return str(getattr(error, "name", type(error).__name__))


def connection_cause(error: Any, packet: Any) -> str:
    """Why a connection ended or failed: in the words of the broker's CONNACK or DISCONNECT, or else in the SDK's."""
    code = packet and packet.reason_code
    # The SDK gives None for a code that it does not know as well; and a CONNACK of success is what it did not like.
    if code is None or code is mqtt5.ConnectReasonCode.SUCCESS:
        return f"{getattr(error, 'message', error)} ({error_name(error)})"
    words = " ".join((packet.reason_string or "").split())
    return f"{_HINTS.get(code, '')}{code.name} ({code:d}){words and ': '}{words}"


def not_connected(settings: Settings, error: Any, connack: Any) -> StartError:
    """The endpoint answered the first connection with a CONNACK that ended it."""
    cause = connection_cause(error, connack)
    if connack.reason_code == mqtt5.ConnectReasonCode.SUCCESS:
        return StartError(
            f"the endpoint accepted the connection, but not as MQTT 5 demands: {cause}",
            cause="it resumed an old session of this client id, though a new one was asked for",
            next_step="try another --client-id; AWS IoT Core does not do that.",
        )
    if connack.reason_code == mqtt5.ConnectReasonCode.NOT_AUTHORIZED:
        return StartError(
            f"the endpoint refused the connection: {cause}",
            cause=f"no policy of the certificate allows iot:Connect on client/{settings.client_id}",
            next_step="attach policies/device-policy.json, filled in, or name a client id that your policy allows with "
            "--client-id.",
        )
    return StartError(
        f"the endpoint refused the connection: {cause}",
        cause="the endpoint is busy or limits connections, or it does not take this client id",
        next_step="try again in a moment, or with another --client-id.",
    )


def stream_refused(title: str, topic: str, error: Any) -> StartError:
    """The broker refused a stream's subscription."""
    return StartError(
        f"the {title} stream was refused its subscription ({error_name(error)})",
        cause=f"no policy of the certificate allows iot:Subscribe on topicfilter/{topic}",
        next_step=_ATTACH,
    )


def unanswered(topic: str, seconds: float, broken: str) -> RequestFailed:
    """No answer to a request in time.

    Args:
        topic: the request's, with ``*`` for the job id.
        seconds: how long it was waited for.
        broken: what is or was wrong with the connection meanwhile, or ``""``.

    """
    message = f"no answer within {seconds:g} s"
    if broken:
        return RequestFailed(message, cause=broken, next_step=_RECONNECTING, uncertain=True)
    # AWS IoT answers a publish or a subscription that it refuses; a message that the device may not have, it drops.
    return RequestFailed(
        message,
        cause="a slow network or service; or no policy of the certificate allows iot:Receive on "
        f"topic/{topic}/* (the answer)",
        next_step="try again; if it stays, compare the certificate's policy with policies/device-policy.json.",
        uncertain=True,
    )


def request_failed(topic: str, error: Any, seconds: float, broken: str) -> RequestFailed:
    """What the SDK's error of a request means; the arguments are those of `unanswered`."""
    name = error.name.removeprefix("AWS_ERROR_MQTT_REQUEST_RESPONSE_")
    if name == "TIMEOUT":
        return unanswered(topic, seconds, broken)
    if broken:
        message = f"the request failed with the connection: {error.name}"
        return RequestFailed(message, cause=broken, next_step=_RECONNECTING, uncertain=True)
    # The SDK keeps the reason codes of PUBACK and SUBACK to itself; that of a policy is by far the most frequent.
    missing = {
        "PUBLISH_FAILURE": f"iot:Publish on topic/{topic}",
        "SUBSCRIBE_FAILURE": f"iot:Subscribe on topicfilter/{topic}/*",
    }.get(name)
    if not missing:
        return RequestFailed(f"the request failed: {error.name}: {error.message}", uncertain=True)
    cause = f"no policy of the certificate allows {missing}"
    return RequestFailed(f"the request was refused ({error.name})", cause=cause, next_step=_ATTACH)
