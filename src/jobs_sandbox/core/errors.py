"""What can go wrong, in the words a user needs: what happened, the likely cause, the next step."""

import copy
from typing import Self


class SandboxError(Exception):
    """A failure that is reported to the user, never as a traceback. Not changed after it is made.

    Attributes:
        message: what happened, one sentence.
        cause: the likely cause, or ``""``.
        next_step: what the user can do, or ``""``.

    """

    def __init__(self, message: str, *, cause: str = "", next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.next_step = next_step

    def replace(self, **attributes: object) -> Self:
        """A copy of this error with other attributes, and the same ``__cause__``."""
        changed = copy.copy(self)
        vars(changed).update(attributes)
        changed.args = (changed.message,)
        changed.__cause__ = self.__cause__
        return changed


class StartError(SandboxError):
    """The program cannot start."""


class UsageError(SandboxError):
    """What was typed is no valid command; nothing was sent."""


class RequestFailed(SandboxError):
    """A request failed on its way, or the control plane refused it.

    Attributes:
        uncertain: the request may have been carried out all the same.

    """

    def __init__(self, message: str, *, cause: str = "", next_step: str = "", uncertain: bool = False) -> None:
        super().__init__(message, cause=cause, next_step=next_step)
        self.uncertain = uncertain


class Throttled(RequestFailed):
    """The service takes no more requests for the moment."""


class NotFound(RequestFailed):
    """The service knows no such thing, job or job execution, or does not know it yet."""


class AlreadyExists(RequestFailed):
    """CreateJob found a job of that id.

    Attributes:
        retried: an earlier attempt of the same request may have been carried out: the job may be its own.
        job_arn: the ARN of the job that exists, or ``""``.

    """

    def __init__(
        self, message: str, *, cause: str = "", next_step: str = "", retried: bool = False, job_arn: str = ""
    ) -> None:
        super().__init__(message, cause=cause, next_step=next_step)
        self.retried = retried
        self.job_arn = job_arn


_AFTER_REJECTION = {
    "ResourceNotFound": "get-pending-job-executions shows what there is; on AWS, a moment after create-job.",
    "TerminalStateReached": "`expect <jobId> SUCCEEDED` shows how it has ended.",
    "InvalidStateTransition": "executionState shows its status: what has ended stays so, and a device cannot cancel.",
    "VersionMismatch": "executionState shows its version; without expectedVersion, any is updated.",
    "RequestThrottled": "try again in a moment.",
}


class Rejected(SandboxError):
    """The Jobs service answered a data plane request on its ``…/rejected`` topic.

    Attributes:
        body: the service's error response: ``code``, ``message``, and ``executionState`` if it came; None when
            that cannot be understood (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html).
        payload: its bytes.

    """

    def __init__(self, body: dict[str, object] | None, payload: bytes) -> None:
        reason = "it cannot be read" if body is None else f"{body.get('code')}: {body.get('message')}"
        next_step = _AFTER_REJECTION.get(str((body or {}).get("code")), "")
        super().__init__(f"the service rejected the request: {reason}", next_step=next_step)
        self.body = body
        self.payload = payload
