"""Secrets are found in settings by their names, and hidden in texts whatever became of them there."""

import os
import re
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs_sandbox.core.redaction import redact, secrets, url_secrets, without_user
from jobs_sandbox.core.settings import Settings
from tests.unit.fakes import TIMEOUT

TOKEN = "IQoJb3JpZ2luX2VjEA//AbCd=="


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host:1/path", "https://host:1/path"),
        ("https://user:pw@host:1", "https://…@host:1"),
        ("https://user@host", "https://…@host"),
        ("https://us@er:p/w#?@host", "https://…@host"),
        ("user:pw@host", "…@host"),
        ("https://us\ner:pw@host", "https://…@host"),
        ("", ""),
    ],
)
def test_url(url: str, shown: str) -> None:
    """A URL is shown without its user part, be it well-formed or not."""
    assert without_user(url) == shown


def test_settings() -> None:
    """The settings name the control plane: its URL without the user part, or AWS's own."""
    settings = Settings("endpoint", "cert", "key", "eu-west-1", "T", "test-1")
    assert settings.control_plane == "AWS IoT in eu-west-1"
    assert settings._replace(endpoint_url="http://user:pw@host").control_plane == "http://…@host"


def test_secrets_by_name() -> None:
    """Keys and tokens of AWS are secret, and the user parts of proxies and endpoints; nothing else is."""
    settings: dict[str, object] = {
        "AWS_ACCESS_KEY_ID": "key id",
        "aws_secret_access_key": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "container",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/a/file",
        "AWS_PROFILE": "profile",
        "SECRET_TOKEN": "not of AWS",
        "region": "eu-west-1",
        "HTTP_PROXY": "http://user:pw@host",
        "https_proxy": "http://host",
        "NO_PROXY": "host",
        "AWS_ENDPOINT_URL_IOT": "http://endpoint@host",
        "s3": {"aws_session_token": "nested", "endpoint_url": "http://inner@host"},
        "aws_secret_number": 5,
    }
    found = set(secrets(settings))
    assert found >= {
        "key id",
        "secret",
        "token",
        "container",
        "user:pw",
        "user",
        "pw",
        "endpoint",
        "nested",
        "inner",
    }
    assert not {form for form in found if re.search("host|file|profile|region|not of", form)}


def test_pieces_of_a_user_part() -> None:
    """What a parser may take for a host, a port or a path is part of the secret, and so is what was encoded."""
    assert set(url_secrets("http://user:a#b%40c@host")) >= {
        "user:a#b%40c",
        "user:a",
        "a",
        "user:a#b@c",
        "b",
        "c",
    }
    assert not set(url_secrets("http://host/path"))


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Invalid header value {TOKEN.encode()!r}",
        f"value {TOKEN + chr(13)!r}",
        f"a{TOKEN}b",
        "IQoJb3JpZ2luX2VjEA%2F%2FAbCd%3D%3D",
    ],
)
def test_forms(text: str) -> None:
    """A secret is hidden wherever it stands, quoted, encoded, or within other text."""
    for hidden in (TOKEN, f"{TOKEN}\r", f" {TOKEN} "):
        shown = redact(text, [hidden])
        assert "b3JpZ2luX2VjEA" not in shown
        assert "…" in shown


@pytest.mark.parametrize(
    "secret",
    ["back\\slash-and-more", "quo'te-and\"-more", "m\xf6re-than-ascii", "ctrl\x07-and-more"],
)
def test_odd_secrets(secret: str) -> None:
    """So is one with characters that change when it is quoted; what is left are single characters."""
    for text in (
        f"is {secret!r}",
        f"is {secret.encode()!r}",
        f"is {secret.encode('latin-1')!r}",
        f"is {secret}",
    ):
        assert not re.search("[a-z]{4}", redact(text, [secret]))


def test_short_secrets() -> None:
    """A short secret is hidden as a word of its own, and is left where it is part of another."""
    assert redact("attested", ["attest"]) == "attested"
    assert redact("attesting12", ["attestin"]) == "…g12"
    assert redact("test: 'test' test-1 attest", ["test"]) == "…: '…' test-1 attest"


def test_key_id_keeps_its_end() -> None:
    """Of an access key id the last four characters tell which it is."""
    assert (
        redact("AKIAIOSFODNN7EXAMPLE is unknown", ["AKIAIOSFODNN7EXAMPLE\r", TOKEN])
        == "…MPLE is unknown"
    )
    assert redact("PASSWORDPASSWORD1234", ["PASSWORDPASSWORD1234"]) == "…"


def test_longer_secrets_first() -> None:
    """A secret that begins another does not uncover the rest of it."""
    assert redact("abcdefghij-rest", ["abcdefgh", "abcdefghij-rest"]) == "…"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "see http://user:pw@host/path and socks5://x@y.",
            "see http://…@host/path and socks5://…@y.",
        ),
        ("mail me@host", "mail me@host"),
        ("several\n lines\r\n\tof it", "several lines of it"),
    ],
)
def test_texts(text: str, shown: str) -> None:
    """The user part of any URL is hidden, known or not, and a text is one line."""
    assert redact(text, []) == shown


@pytest.mark.parametrize(
    "word", ["'a' * 2**20", "'a:1,' * 2**18", "'a@' + 'b:' * 2**18", "'://' * 2**18"]
)
def test_long_words(word: str) -> None:
    """A long word, as a server may send one, is gone through once: it would take an hour otherwise."""
    script = f"""
        from jobs_sandbox.core.redaction import redact
        word = {word}
        assert redact(word + " http://user:pw@host", []) == word + " http://…@host"
    """
    # in a process of its own, for nothing interrupts a pattern at work
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=3 * TIMEOUT)


anything = st.text(st.characters(codec=None))


@given(anything, st.lists(anything, max_size=3))
def test_any_text(text: str, hidden: list[str]) -> None:
    """Any text can be redacted of anything, and no long secret is left in it."""
    shown = redact(text, hidden)
    for secret in hidden:
        if len(secret.split()) == 1 and len(secret.strip()) >= 8:
            assert secret.strip() not in shown


def test_environment_of_this_machine() -> None:
    """An environment is searched as it is."""
    assert all(isinstance(found, str) for found in secrets(os.environ))
