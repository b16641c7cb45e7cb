"""Fetches AWS credentials by the rules of boto3, and records which source is asked.

botocore lets a profile's ``credential_process`` read our standard input and use our terminal, and
waits for it without end. Here the process has neither, and `Credentials.stop` ends it.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from botocore.credentials import (
    AssumeRoleProvider,
    CanonicalNameCredentialSourcer,
    EnvProvider,
    ProcessProvider,
    ProfileProviderBuilder,
    create_credential_resolver,
)
from botocore.exceptions import NoCredentialsError

from jobs_sandbox.control_plane.failures import CodeNeeded, CredentialsFailed, NoCredentialsInTime
from jobs_sandbox.core.redaction import redact
from jobs_sandbox.core.threads import after

# Seconds after which the user gets a message that a fetch is under way.
_SLOW = 1.0
# Seconds between two reads of the stderr of a credential_process.
_POLL = 0.2
# Characters of its stderr in a message.
_LONGEST = 200

_SOURCES = {
    "assume-role": "AWS STS (AssumeRole)",
    "assume-role-with-web-identity": "AWS STS (AssumeRoleWithWebIdentity)",
    "sso": "AWS single sign-on",
    "login": "the session of `aws login`",
    "container-role": "the credentials service of the container",
    "iam-role": "the metadata service of the machine",
    "custom-process": "the credential_process of the profile",
}
"""The providers that may take long, by botocore's name, and how messages name them."""


class _Process(subprocess.Popen[bytes]):
    """A ``credential_process`` with an empty standard input, in a session without a terminal.

    Attributes:
        stderr_so_far: its output on stderr until now; ``report`` is called when there is more.

    """

    def __init__(self, command: list[str], report: Callable[[], None], **pipes: Any) -> None:
        self.stderr_so_far = b""
        self._report = report
        super().__init__(command, stdin=subprocess.DEVNULL, start_new_session=True, **pipes)

    def communicate(self, *_: object, **__: object) -> tuple[bytes, bytes]:
        """Wait for its end, and return its stdout and stderr."""
        while True:
            try:
                return super().communicate(timeout=_POLL)
            except subprocess.TimeoutExpired as error:
                if error.stderr and error.stderr != self.stderr_so_far:
                    self.stderr_so_far = error.stderr
                    self._report()


class Credentials:
    """The credentials of a botocore session, which gets them from this object.

    It may be used from several threads.

    Attributes:
        secrets: the access key, the secret key and the token that were fetched last.

    """

    def __init__(self, session: Any, notice: Callable[[str], None]) -> None:
        self._session = session
        self._notice = notice
        self._lock = threading.Lock()
        # The provider that was asked last, by botocore's name.
        self._method = ""
        # While it may take long: the same provider, as messages name it.
        self._source = ""
        self._process: _Process | None = None
        self._reported = ""
        self.secrets: tuple[str, ...] = ()
        session.register_component("credential_provider", self)

    def fetch(self) -> None:
        """Fetch credentials, or renew them before they expire.

        Raises:
            CredentialsFailed: there are none.

        """
        with self._lock:
            try:
                credentials = self._session.get_credentials()
                if credentials is None:
                    raise NoCredentialsError
                self._begin(credentials.method)
                keys = credentials.get_frozen_credentials()
            # Providers and their libraries raise errors of many types.
            except Exception as error:
                source = self._source or self._method
                raise CredentialsFailed(self._method, source, error) from error
            finally:
                self._source, self._process, self._reported = "", None, ""
            self.secrets = tuple(filter(None, (keys.access_key, keys.secret_key, keys.token)))

    def not_in_time(self, time: str) -> CredentialsFailed | None:
        """End a fetch that has not ended within that time.

        Returns:
            The error, or None if no fetch is under way.

        """
        if not self._source:
            return None
        error = NoCredentialsInTime(time + self._stderr())
        self.stop()
        return CredentialsFailed(self._method, self._source, error)

    def stop(self) -> None:
        """End the ``credential_process``, if one runs."""
        process = self._process
        # While there is no return code, no other process can have its number.
        if process and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def load_credentials(self) -> Any:
        """The first credentials that a provider has, or None. The botocore session calls this."""
        for provider in self._chain():
            self._begin(provider.METHOD)
            if credentials := provider.load():
                return credentials
        return None

    def providers(self, profile_name: str, disable_env_vars: bool) -> list[Any]:  # noqa: FBT001
        """The providers of a role's ``source_profile``. botocore calls this."""
        ours = {ProcessProvider.METHOD: self._process_provider(profile_name)}
        builder = ProfileProviderBuilder(self._session)
        theirs = builder.providers(profile_name, disable_env_vars)
        return [ours.get(provider.METHOD, provider) for provider in theirs]

    def _chain(self) -> list[Any]:
        """Botocore's providers; those that start a process or would ask for a code are ours."""
        chain = create_credential_resolver(self._session).providers
        profile = self._session.get_config_variable("profile") or "default"
        role = AssumeRoleProvider(
            self._config,
            self._session.create_client,
            cache={},
            profile_name=profile,
            prompter=_refuse,
            credential_sourcer=CanonicalNameCredentialSourcer([EnvProvider(), *chain]),
            profile_provider_builder=self,
        )
        ours = {role.METHOD: role, ProcessProvider.METHOD: self._process_provider(profile)}
        return [ours.get(provider.METHOD, provider) for provider in chain]

    def _process_provider(self, profile: str) -> ProcessProvider:
        return ProcessProvider(profile, self._config, popen=partial(self._start, profile))

    def _start(self, profile: str, command: list[str], **pipes: Any) -> _Process:
        self._begin(ProcessProvider.METHOD)
        self._source += f" {profile}"
        self._process = _Process(command, self._report, **pipes)
        return self._process

    def _config(self) -> Any:
        return self._session.full_config

    def _begin(self, method: str) -> None:
        self._method, self._source = method, _SOURCES.get(method, "")
        if self._source:
            after(_SLOW, self._report)

    def _report(self) -> None:
        message = f"waiting for AWS credentials from {self._source}{self._stderr()}"
        if self._source and message != self._reported:
            self._reported = message
            self._notice(message)

    def _stderr(self) -> str:
        """The stderr of the ``credential_process`` until now, on one line after a colon."""
        written = self._process.stderr_so_far if self._process else b""
        line = redact(written.decode(errors="replace"), self.secrets)
        return f": {line[-_LONGEST:]}" if line else ""


def _refuse(question: str) -> str:
    raise CodeNeeded(question)
