"""Errors as users read them: what happened, the likely cause, and the next step."""

import copy
from typing import Self


class SandboxError(Exception):
    """A failure that is reported to the user, never as a traceback.

    Attributes:
        message: what happened, in one sentence.
        cause: the likely cause, or ``""``.
        next_step: what the user can do, or ``""``.
        is_warning: the line that failed began with ``should``.

    """

    is_warning = False

    def __init__(self, message: str, *, cause: str = "", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.next_step = next_step

    def replace(self, **attributes: object) -> Self:
        """A copy of this error with other attributes."""
        changed = copy.copy(self)
        vars(changed).update(attributes)
        changed.args = (changed.message,)
        return changed


class StartError(SandboxError):
    """The program cannot start."""


class UsageError(SandboxError):
    """The line is not a valid command; nothing was sent."""


class RequestFailed(SandboxError):
    """A request got no answer, or the control plane refused it.

    Attributes:
        uncertain: the request may have been carried out all the same.

    """

    def __init__(
        self, message: str, *, cause: str = "", next_step: str = "", uncertain: bool = False
    ) -> None:
        super().__init__(message, cause=cause, next_step=next_step)
        self.uncertain = uncertain


class Unavailable(RequestFailed):
    """There is no answer now, or too many requests; a later request may succeed."""


class NotFound(RequestFailed):
    """The service does not know the thing, job or job execution (yet)."""


_AFTER_REJECTION = {
    "ResourceNotFound": "get-pending-job-executions shows what there is; on AWS, a moment after "
    "create-job.",
    "TerminalStateReached": "`expect <jobId> SUCCEEDED` shows how it has ended.",
    "InvalidStateTransition": "an execution that has ended cannot change, and a device cannot "
    "cancel; executionState, if it came, shows the status.",
    "VersionMismatch": "executionState, if it came, shows the version; without expectedVersion, "
    "any is updated.",
    "RequestThrottled": "try again in a moment.",
}


class Rejected(SandboxError):
    """The Jobs service answered a request of the data plane on its ``…/rejected`` topic.

    Attributes:
        body: the service's error response, with ``code``, ``message`` and sometimes
            ``executionState``; None if it cannot be parsed
            (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-api.html).
        payload: its bytes.

    """

    def __init__(self, body: dict[str, object] | None, payload: bytes) -> None:
        reason = "the answer cannot be parsed"
        next_step = ""
        if body is not None:
            reason = f"{body.get('code')}: {body.get('message')}"
            next_step = _AFTER_REJECTION.get(str(body.get("code")), "")
        super().__init__(f"the service rejected the request: {reason}", next_step=next_step)
        self.body = body
        self.payload = payload


class Interrupted(Exception):
    """The user pressed Ctrl-C while a command was under way."""


class Quit(Exception):
    """The user wants to leave the program."""
