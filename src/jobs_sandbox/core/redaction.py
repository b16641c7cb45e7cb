"""Hides secrets in messages: credentials, and the user parts of URLs."""

import re
from collections.abc import Collection

HIDDEN = "…"
_SHORTEST_SECRET = 8  # characters
# Where the user part of a URL begins.
_USER = re.compile(r"(?<=://)|(?<![^='\"/:])[^='\"/:]+:(?!//)")


def without_user(url: str) -> str:
    """A URL with its user part hidden, be it a well-formed URL or not."""
    return re.sub(r"\A(.*?://)?.*@", rf"\1{HIDDEN}@", url, flags=re.DOTALL)


def without_users(text: str) -> str:
    """A text with the user part of each URL in it hidden, also of one that lacks its scheme."""
    return re.sub(r"\S+", _word_without_user, text)


def _word_without_user(word: re.Match[str]) -> str:
    """Takes time in proportion to the length: no pattern looks for the ``@`` from each place."""
    before, at, host = word[0].rpartition("@")
    user = _USER.search(before) if at else None
    return f"{before[: user.start()]}{HIDDEN}@{host}" if user else word[0]


def redact(text: str, secrets: Collection[str]) -> str:
    """A text from elsewhere on one line, without these secrets and the user part of any URL.

    Emulators take short words as keys; these are not hidden, for they are part of other words.
    """
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return without_users(" ".join(text.split()))
