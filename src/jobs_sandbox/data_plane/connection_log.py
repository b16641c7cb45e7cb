"""The state of the MQTT connection, and a message for each change."""

from collections.abc import Callable
from time import monotonic


class Connection:
    """Reports a loss, a reconnect, and each new cause for which the connection stays down.

    Attributes:
        up: the connection is established.

    """

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self._since = monotonic()
        self._causes: set[str] = set()
        self._closed = False
        # The last reason for which it was lost or could not be restored; "" before the first loss.
        self._cause = ""
        self.up = False

    def restored(self) -> None:
        """The connection is established, for the first time or again."""
        seconds = monotonic() - self._since
        self._since, self.up = monotonic(), True
        self._change("connected", f"reconnected after {seconds:.1f} s" if self._cause else "")

    def lost(self, cause: str) -> None:
        """The connection was lost."""
        self._since, self.up = monotonic(), False
        self._cause, self._causes = cause, {cause}
        self._change("reconnecting", f"connection lost: {cause}")

    def failed(self, cause: str) -> None:
        """An attempt to reconnect failed."""
        self._cause = cause
        if cause not in self._causes:
            self._causes.add(cause)
            self._change("reconnecting", f"cannot reconnect yet: {cause}")

    def close(self) -> None:
        """The program ends the connection: later changes are not reported."""
        self._change("stopped", "")
        self._closed = True

    def trouble(self, seconds: float) -> str:
        """The trouble with the connection during the last so many seconds, or ``""``."""
        since = monotonic() - self._since
        if not self.up:
            return f"the connection is down (for {since:.0f} s): {self._cause}"
        if self._cause and since < seconds:
            return f"the connection was lost meanwhile: {self._cause}"
        return ""

    def _change(self, state: str, message: str) -> None:
        if not self._closed:
            self._report(state, message)
