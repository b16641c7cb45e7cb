"""What can go wrong, in the words a user needs: what happened, the likely cause, what to do next."""


class SandboxError(Exception):
    """A failure that is told to the user and never shown as a traceback.

    Attributes:
        what: what happened, one sentence.
        cause: the likely cause, or ``""``.
        todo: the next step, or ``""``.
        place: ``{"line": …, "command": …}`` for a failure in a script, else empty.

    """

    def __init__(self, what: str, *, cause: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.cause = cause
        self.todo = todo
        self.place: dict[str, object] = {}


class StartError(SandboxError):
    """The program cannot start."""


class UsageError(SandboxError):
    """What was typed is no valid command; nothing was sent."""


class RequestFailed(SandboxError):
    """A request failed on its way, or the control plane refused it.

    Attributes:
        uncertain: the request may have been carried out all the same.

    """

    def __init__(self, what: str, *, cause: str = "", todo: str = "", uncertain: bool = False) -> None:
        super().__init__(what, cause=cause, todo=todo)
        self.uncertain = uncertain


class AlreadyExists(RequestFailed):
    """CreateJob found a job of that id.

    Attributes:
        retried: the SDK had sent the request before, so that the job may be this request's own.
        job_arn: the ARN of the job that exists, or ``""``.

    """

    retried = False
    job_arn = ""


class Rejected(SandboxError):
    """The Jobs service answered a data plane request on its ``…/rejected`` topic.

    Attributes:
        body: the service's error response: ``code``, ``message``, and ``executionState`` if it came; None when
            that cannot be understood (https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html).
        payload: its bytes.

    """

    def __init__(self, body: dict[str, object] | None, payload: bytes) -> None:
        reason = "it cannot be read" if body is None else f"{body.get('code')}: {body.get('message')}"
        super().__init__(f"the service rejected the request: {reason}")
        self.body = body
        self.payload = payload
