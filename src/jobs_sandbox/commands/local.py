"""The commands that need ``--local``: faults on the wire of a device, and what the device does."""

import re
from typing import Any

from jobs_sandbox.commands.arguments import TIMEOUT, check_seconds, one_of
from jobs_sandbox.commands.command import PROGRAM, Call, Parameter, check_arguments, command
from jobs_sandbox.commands.lines import first_word
from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.core.errors import UsageError
from jobs_sandbox.core.jobs import OPERATIONS
from jobs_sandbox.core.text import nearest, short

_HIGHEST_REASON = 255
FACTS = {
    "connects": "CONNECT packets, also refused ones",
    "subscribes": "topic filters that were granted",
    **OPERATIONS,
    "requests": "all four requests",
    "reports": "updates to SUCCEEDED, FAILED or REJECTED",
    "rejected": "responses that reject a request",
    "refused": "what the policy does not allow",
    "ends": "ends of the process by itself",
    "unacknowledged": "messages without a PUBACK, now",
    "wildcards": "of the policy, that stand for everything",
}
"""What can be counted of a device, and what it means in at most 40 characters."""


def _number(value: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", value):
        raise UsageError(f"{short(value)} is not a whole number from 0 to 9999.")
    return int(value)


def _times(value: str) -> int | None:
    """How often; None is always."""
    if value.lower() == "always":
        return None
    if number := _number(value):
        return number
    raise UsageError("a fault that takes effect 0 times does nothing: give 1 to 9999, or always.")


def _reason(value: str) -> int:
    """A reason code of MQTT 5, decimal or hexadecimal."""
    if not re.fullmatch("[0-9]{1,3}|0x[0-9a-fA-F]{2}", value):
        raise UsageError(f"{short(value)} is not a reason code of MQTT 5, such as 139 or 0x8B.")
    code = int(value, 16 if "x" in value else 10)
    if code > _HIGHEST_REASON:
        raise UsageError(f"{code} is not a reason code of MQTT 5: 0 to {_HIGHEST_REASON}.")
    return code


def _word(name: str, *words: str, required: bool = True) -> Parameter:
    return one_of(name, "one of the words", dict.fromkeys(words, ""), required=required)


# The names of parameters, without brackets, are arguments of `Service.fault`; others are `detail`.
_NAMED = ("seconds", "times", "code", "reason")
_SECONDS = Parameter("<seconds>", check_seconds, "")
_DURATION = Parameter("[seconds]", check_seconds, "", required=False)
_TIMES = Parameter("[times]", _times, "", required=False)
_REASON = Parameter("[reason]", _reason, "", required=False)
_OPERATION = _word("<operation>", *OPERATIONS)
_CODE = _word(
    "<code>",
    "RequestThrottled",
    "InternalError",
    "VersionMismatch",
    "InvalidRequest",
    "ResourceNotFound",
)
_REFUSAL = _word("[close | hold | busy]", "close", "hold", "busy", required=False)
_PACKET = _word("<PUBACK | SUBACK | PINGRESP>", "PUBACK", "SUBACK", "PINGRESP")
_CERTIFICATE = _word("<certificate>", "unknown-ca", "other-name", "expired", "right")

# What follows the words of each fault.
_FAULTS: dict[str, tuple[Parameter, ...]] = {
    "disconnect": (_REASON,),
    "refuse": (_SECONDS, _REFUSAL),
    "silence": (_SECONDS,),
    "lose": (_OPERATION, _TIMES),
    "delay": (_OPERATION, _SECONDS, _TIMES),
    "reject": (_OPERATION, _CODE, _TIMES),
    "events twice": (_TIMES,),
    "events never": (_TIMES,),
    "events late": (_SECONDS, _TIMES),
    "events early": (_SECONDS, _TIMES),
    "take-over": (_DURATION,),
    "forget-session": (),
    "withhold": (_PACKET, _TIMES),
    "certificate": (_CERTIFICATE,),
    "none": (),
}
# What those do that nothing follows.
_ALONE = {"forget-session": "its persistent session is gone", "none": "ends all faults"}


def _check_fault(text: str) -> tuple[str, dict[str, Any]]:
    """The kind of a fault and the other arguments of `Service.fault`."""
    kind, rest = first_word(text)
    detail, after = first_word(rest)
    name = kind.lower()
    arguments: dict[str, Any] = {}
    if f"{name} {detail}".lower() in _FAULTS:
        arguments["detail"] = detail.lower()
        name, rest = f"{name} {detail}".lower(), after
    if name not in _FAULTS:
        hint = nearest(name, _FAULTS)
        raise UsageError(
            f"{short(text)} is not a fault{hint or '.'}", next_step="see `help fault`."
        )
    parameters = _FAULTS[name]
    try:
        values = check_arguments(f"fault {name}", parameters, rest)
    except UsageError as error:
        raise error.replace(next_step=f"usage: fault {name} {_names(parameters)}") from error
    for parameter, value in zip(parameters, values, strict=False):
        keyword = parameter.name.strip("<[]>")
        arguments[keyword if keyword in _NAMED else "detail"] = value
    if name == "refuse":
        arguments.setdefault("detail", "close")
    return kind.lower(), arguments


def _names(parameters: tuple[Parameter, ...]) -> str:
    return " ".join(parameter.name for parameter in parameters)


_FAULT = Parameter(
    "<fault>",
    _check_fault,
    "the fault and its arguments",
    lambda _: [(name, _names(words) or _ALONE[name]) for name, words in _FAULTS.items()],
    rest=True,
)


@command(
    "fault",
    PROGRAM,
    _FAULT,
    summary="cause a fault on the device's wire",
    details="It meets the device of --device, or a client that joined by `connection`, and not "
    "this prompt. lose: the request counts, and its response is lost; early: events come before "
    "the queue can be read; operation: get, start-next, describe or update; code: "
    "RequestThrottled, InternalError, VersionMismatch, InvalidRequest or ResourceNotFound; "
    "certificate, of the server: unknown-ca, other-name, expired or right; times: a number or "
    "always, without it once. AWS IoT itself does: disconnect, delay, "
    "reject, events, take-over (two devices with one client id) and forget-session (after an "
    "hour). Networks do: refuse, silence, lose and withhold.",
    example="fault lose update",
    requires="--local",
)
async def fault(call: Call, what: tuple[str, dict[str, Any]]) -> None:
    """Cause a fault on the wire of the device."""
    kind, arguments = what
    await call.session.fault(kind, **arguments)


@command(
    "device-activity",
    PROGRAM,
    summary="show what the device has done",
    details="Counted since the last `fault` or, without one, since the start. AWS IoT's view: "
    "connects with the seconds between them, subscriptions, requests, rejections by their code, "
    "what the policy refused, messages without a PUBACK.",
    example="device-activity",
    title=blocks.DEVICE_ACTIVITY,
    requires="--local",
)
async def device_activity(call: Call) -> None:
    """Show what the device has done."""
    call.show(Block(blocks.DEVICE_ACTIVITY, await call.session.device_activity()))


@command(
    "expect-device",
    PROGRAM,
    one_of("<fact>", "a fact", FACTS),
    one_of(
        "<at-least | at-most>",
        "a bound",
        {"at-least": "reached in time", "at-most": "kept for the whole time"},
    ),
    Parameter("<n>", _number, "a whole number"),
    TIMEOUT._replace(name="[seconds]"),
    summary="judge what the device does",
    details="Counted since the last `fault` or, without one, since the start.",
    example="expect-device connects at-most 6 15",
    requires="--local",
)
async def expect_device(
    call: Call, fact: str, bound: str, number: int, seconds: float | None = None
) -> None:
    """Wait until a number is reached, or judge that it is not exceeded."""
    await call.session.expect_device(fact, bound, number, seconds)
