"""The installed program on pipes, and the blocks that it prints."""

import codecs
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from jobs_sandbox.local import REGION
from tests.support.blocks import parse_blocks
from tests.support.waiting import PATIENCE, until

COMMAND = [sys.executable, "-m", "jobs_sandbox"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without AWS settings, and then ``extra``; Python buffers as for users."""
    unset = ("AWS_", "PYTHONUNBUFFERED")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    ours = {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"}
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        ours[name] = os.devnull
    return clean | ours | dict(extra or {})


def command_line(endpoint: str, cert: str, key: str, thing: str, **options: str) -> list[str]:
    """The arguments of the program; a request may take long, unless a test says otherwise."""
    words = [endpoint, cert, key, REGION, thing]
    for name, value in ({"timeout": "30"} | options).items():
        words += [f"--{name.replace('_', '-')}", value]
    return words


class Program:
    """A running jobs-sandbox; a context manager that leaves nothing behind.

    Attributes:
        process: the process.
        stdout, stderr: what it has printed so far.

    """

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.stdout = self.stderr = ""
        self._taken = 0
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
        )
        self._readers = [
            threading.Thread(target=self._read, args=[name], daemon=True)
            for name in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.finish()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()

    def send(self, *lines: str) -> None:
        """Type lines."""
        assert self.process.stdin
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until a condition is true, and return its value."""
        return until(condition, patience, explain=lambda: f"{self.stdout}\n{self.stderr}")

    def wait_stderr(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until stderr has the text."""
        self.wait_for(lambda: text in self.stderr, patience)

    def started(self) -> Self:
        """Wait until it is connected."""
        self.wait_stderr("onnected to ")
        return self

    def blocks(self) -> list[tuple[str, str]]:
        """The whole blocks on stdout so far: titles and bodies."""
        return parse_blocks(self.stdout)

    def take(self, *titles: str) -> dict[str, Any]:
        """Wait for one new block of each title, in any order, and take them; JSON is parsed."""

        def fresh() -> list[tuple[str, str]]:
            return self.blocks()[self._taken :][: len(titles)]

        self.wait_for(lambda: sorted(title for title, _ in fresh()) == sorted(titles))
        taken = {
            title: json.loads(body) if body.startswith("{") else body for title, body in fresh()
        }
        self._taken += len(titles)
        return taken

    def ask(self, line: str, *titles: str) -> Any:
        """Type a line and take the blocks that follow; the body of the first."""
        self.send(line)
        return self.take(*titles)[titles[0]]

    def finish(self) -> int:
        """Close its input, and wait for its end; the exit status."""
        assert self.process.stdin
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def _read(self, name: str) -> None:
        # A character may come in two pieces.
        decode = codecs.getincrementaldecoder("utf-8")().decode
        while chunk := os.read(getattr(self.process, name).fileno(), 65536):
            setattr(self, name, getattr(self, name) + decode(chunk))


def run(
    arguments: Sequence[str],
    script: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 2 * PATIENCE,
) -> "subprocess.CompletedProcess[str]":
    """Run the program to its end with a script on its standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=script,
        capture_output=True,
        text=True,
        env=environment(env),
        timeout=timeout,
        check=False,
    )
