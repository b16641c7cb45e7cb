"""The state of the connection, and what is worth a line about it. Knows no SDK."""

import time
from collections.abc import Callable

# A connection that stood this long is sound again: its next loss is news.
_SOUND_AFTER = 60.0  # seconds
# So many failed attempts are worth another line, and twice as many, and so on.
_STILL_TRYING = 8


class Connection:
    """Turns the connection's ups and downs into a few lines: each change with its cause, a flood summarised.

    Of losses that follow one another quickly, the 1st, 2nd, 4th, 8th … and every one with a new cause are told; of
    failed attempts to reconnect, the first of each cause and the 8th, 16th, 32nd …

    Attributes:
        up: the connection stands.
        losses: how often it was lost.
        cause: why it was lost last, or why it is still down.
        closing: losing it is no news any more.

    """

    def __init__(
        self, tell: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tell = tell
        self._clock = clock
        self.up = False
        self.losses = 0
        self.cause = ""
        self.closing = False
        self._since = clock()
        self._attempts = 0
        self._attempt_causes: set[str] = set()
        self._loss_causes: set[str] = set()
        self._streak = 0
        self._streak_began = self._since
        self._told = True

    def lost(self, cause: str) -> None:
        """The connection was lost."""
        now = self._clock()
        if now - self._since > _SOUND_AFTER or not self._streak:
            self._streak, self._streak_began = 0, now
            self._loss_causes.clear()
        self._streak += 1
        self._told = _is_power_of_two(self._streak) or cause not in self._loss_causes
        self._loss_causes.add(cause)
        again = (
            f" ({self._streak} times in {now - self._streak_began:.0f} s)"
            if self._streak > 1
            else ""
        )
        self.up, self.cause, self._since = False, cause, now
        self.losses += 1
        self._attempts = 0
        if self._told:
            self._attempt_causes.clear()
        self._say("reconnecting", f"connection lost: {cause}{again}")

    def failed(self, cause: str) -> None:
        """An attempt to reconnect failed."""
        self._attempts += 1
        self.cause = cause
        if cause not in self._attempt_causes:
            self._attempt_causes.add(cause)
            self._told = True
            self._say("reconnecting", f"cannot reconnect yet: {cause}; trying on")
        elif self._attempts >= _STILL_TRYING and _is_power_of_two(self._attempts):
            self._told = True
            lasted = self._clock() - self._since
            self._say(
                "reconnecting",
                f"still down after {self._attempts} attempts in {lasted:.0f} s: {cause}",
            )

    def restored(self) -> None:
        """The connection stands, for the first time or again."""
        now = self._clock()
        after, self._since, self.up = now - self._since, now, True
        attempts = f", {self._attempts} failed attempts" if self._attempts > 1 else ""
        self._say("connected", f"reconnected after {after:.1f} s{attempts}" if self.losses else "")

    def mark(self) -> int:
        """The connection as it is now, to be compared later by `broken_since`."""
        return self.losses if self.up else -1

    def broken_since(self, mark: int) -> str:
        """What is wrong with the connection, or was at any time since the mark; ``""`` when nothing was."""
        if not self.up:
            return f"the connection is down: {self.cause}"
        if self.losses != mark:
            return f"the connection was lost meanwhile: {self.cause}"
        return ""

    def _say(self, state: str, message: str) -> None:
        if not self.closing:
            self._tell(state, message if self._told else "")


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0
