"""What the device SDK's errors mean, in words."""

import pytest
from awscrt import mqtt5
from awscrt.mqtt5 import DisconnectReasonCode as Code

from jobs_sandbox.data_plane.failures import connection_cause, not_connected
from tests.unit.data_plane.fakes import HANGUP


@pytest.mark.parametrize(
    ("packet", "cause"),
    [
        (None, str(HANGUP)),
        (mqtt5.DisconnectPacket(reason_code=None), str(HANGUP)),
        (mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode.BANNED), "BANNED (138)"),
        (
            mqtt5.DisconnectPacket(Code.SESSION_TAKEN_OVER),
            "SESSION_TAKEN_OVER (142): another client connected with the same client id",
        ),
        (
            mqtt5.DisconnectPacket(Code.ADMINISTRATIVE_ACTION, reason_string="by\n  order"),
            "ADMINISTRATIVE_ACTION (152): by order",
        ),
    ],
)
def test_connection_cause(
    packet: mqtt5.DisconnectPacket | mqtt5.ConnackPacket | None,
    cause: str,
) -> None:
    """The end of a connection is reported in the broker's words if it gave any, else the SDK's."""
    assert connection_cause(HANGUP, packet) == cause


@pytest.mark.parametrize(
    ("code", "cause", "next_step"),
    [
        (135, "no policy of the certificate allows iot:Connect on client/test-1", "--client-id"),
        (137, "busy", "try again"),
    ],
)
def test_connack(code: int, cause: str, next_step: str) -> None:
    """A refusal by CONNACK is quoted, and one for want of a permission names that alone."""
    error = not_connected("test-1", mqtt5.ConnackPacket(reason_code=mqtt5.ConnectReasonCode(code)))
    assert f"({code})" in error.message
    assert cause in error.cause
    assert "ACTIVE" not in error.cause
    assert next_step in error.next_step
