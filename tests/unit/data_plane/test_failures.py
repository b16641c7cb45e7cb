"""What the device SDK's errors mean, in words."""

import pytest
from awscrt import mqtt5
from awscrt.exceptions import AwsCrtError

from jobs_sandbox.core.errors import StartError
from jobs_sandbox.data_plane.failures import connection_cause, error_name, not_connected
from tests.unit.data_plane.fakes import HANGUP, SETTINGS


def not_connected_by(code: int, error: Exception = HANGUP) -> StartError:
    return not_connected(
        SETTINGS, error, mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode(code))
    )


def test_names() -> None:
    """An error is called what the SDK calls it, and one of Python's own by its class."""
    assert error_name(HANGUP) == "AWS_ERROR_MQTT_UNEXPECTED_HANGUP"
    assert error_name(MemoryError("full")) == "MemoryError"


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (None, "hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP)"),
        (mqtt5.DisconnectPacket(reason_code=None), "hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP)"),
        (
            mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode.SUCCESS, session_present=True),
            "hung up (AWS_ERROR_MQTT_UNEXPECTED_HANGUP)",
        ),
        (mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode.SERVER_BUSY), "SERVER_BUSY (137)"),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.NORMAL_DISCONNECTION),
            "NORMAL_DISCONNECTION (0)",
        ),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER),
            "another client connected with the same client id: SESSION_TAKEN_OVER (142)",
        ),
        (
            mqtt5.DisconnectPacket(mqtt5.DisconnectReasonCode.SERVER_SHUTTING_DOWN),
            "the endpoint is shutting down: SERVER_SHUTTING_DOWN (139)",
        ),
        (
            mqtt5.DisconnectPacket(
                mqtt5.DisconnectReasonCode.ADMINISTRATIVE_ACTION, reason_string="by\n  order"
            ),
            "ADMINISTRATIVE_ACTION (152): by order",
        ),
    ],
)
def test_connection_cause(
    packet: mqtt5.DisconnectPacket | mqtt5.ConnackPacket | None, cause: str
) -> None:
    """The end of a connection is told in the broker's own words if it gave any, else in the SDK's."""
    assert connection_cause(HANGUP, packet) == cause


def test_no_error_of_the_sdk() -> None:
    """An error of Python's own is told in its words."""
    assert connection_cause(MemoryError("full"), None) == "full (MemoryError)"


@pytest.mark.parametrize(
    ("code", "message", "cause", "next_step"),
    [
        (135, "NOT_AUTHORIZED (135)", "iot:Connect on client/test-1", "--client-id"),
        (137, "SERVER_BUSY (137)", "busy", "try again"),
        (133, "CLIENT_IDENTIFIER_NOT_VALID (133)", "does not take this client id", "--client-id"),
    ],
)
def test_connack(code: int, message: str, cause: str, next_step: str) -> None:
    """A CONNACK's refusal is quoted, and one for want of a permission names it."""
    error = not_connected_by(code)
    assert error.message == f"the endpoint refused the connection: {message}"
    assert cause in error.cause
    assert next_step in error.next_step


def test_old_session() -> None:
    """A CONNACK that resumes a session where a new one was asked for is no refusal that succeeds."""
    error = not_connected_by(
        0, AwsCrtError(5138, "AWS_ERROR_MQTT_CANCELLED_FOR_CLEAN_SESSION", "Old requests")
    )
    assert "AWS_ERROR_MQTT_CANCELLED_FOR_CLEAN_SESSION" in error.message
    assert "SUCCESS" not in error.message
    assert "refused" not in error.message
    assert "old session" in error.cause
    assert "--client-id" in error.next_step
