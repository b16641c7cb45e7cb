"""Keeps secrets out of messages: credentials, and the user parts of URLs. Pure; knows no SDK."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

HIDDEN = "…"
_LONG = 8  # characters: what is shorter is hidden as a word of its own only, for it is part of too many others
_KEY_ID = re.compile(
    "A[KS]IA[A-Z0-9]{12,}"
)  # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
_KEY_ID_SHOWN = 4  # characters at its end: enough to tell one key from another
_SECRET_NAME = re.compile(r"aws_\w*(key|token|secret)\w*", re.IGNORECASE)
_USER = re.compile(
    r"(?<=://)|(?<![^='\"/:])[^='\"/:]+:(?!//)"
)  # where the user part of a URL begins
_URL_NAME = re.compile(r"\w+_proxy|(aws_)?endpoint_url\w*", re.IGNORECASE)


def without_user(url: str) -> str:
    """A URL with its user part hidden, be it a well-formed URL or not."""
    return re.sub(r"\A(.*?://)?.*@", rf"\1{HIDDEN}@", url, flags=re.DOTALL)


def without_users(text: str) -> str:
    """A text with the user part of each URL in it hidden, also of one that lacks its scheme."""
    return re.sub(r"\S+", _word_without_user, text)


def _word_without_user(word: re.Match[str]) -> str:
    """In time that grows with its length alone: no pattern looks for the ``@`` from each place anew."""
    before, at, host = word[0].rpartition("@")
    user = _USER.search(before) if at else None
    return f"{before[: user.start()]}{HIDDEN}@{host}" if user else word[0]


def secrets(settings: Mapping[str, object]) -> Iterator[str]:
    """What must not be shown of settings by name: an environment, or a profile of AWS's configuration files."""
    for name, value in settings.items():
        if isinstance(value, str) and _URL_NAME.fullmatch(name):
            yield from url_secrets(value)
        elif (
            isinstance(value, str)
            and _SECRET_NAME.fullmatch(name)
            and not name.lower().endswith("_file")
        ):
            yield value
        elif isinstance(value, Mapping):
            yield from secrets(value)


def url_secrets(url: str) -> Iterator[str]:
    """What must not be shown of a URL: its user part, and the pieces that a parser may take it for."""
    user_part, at, _ = url.rpartition("@")
    user_part = user_part.rpartition("://")[2]
    if at:
        for form in (user_part, unquote(user_part)):
            yield form
            yield from re.split(r"[:@/?#\\]", form)
            yield from re.split(r"[@/?#\\]", form)


def redact(text: str, hidden: Iterable[str]) -> str:
    """A text from elsewhere, on one line, in which no URL has a user part and no secret is shown.

    An access key id keeps its last four characters.
    """
    forms = {form for secret in hidden for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        shown = HIDDEN + form[-_KEY_ID_SHOWN:] if _KEY_ID.fullmatch(form) else HIDDEN
        pattern = (
            re.escape(form) if len(form) >= _LONG else rf"(?<![\w-]){re.escape(form)}(?![\w-])"
        )
        text = re.sub(pattern, lambda _, shown=shown: shown, text)  # type: ignore[misc]
    return without_users(" ".join(text.split()))


def _forms(secret: str) -> Iterator[str]:
    """A secret, and what becomes of it in messages: cut at what fits into no header, quoted, or encoded."""
    for piece in (secret.strip(), *re.findall("[!-~]{4,}", secret)):
        if piece:
            yield from (piece, repr(piece)[1:-1], quote(piece, safe="", errors="replace"))
