"""The installed program on a pipe, driven a line at a time."""

import codecs
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

PATIENCE = 15.0
COMMAND = [sys.executable, "-m", "jobs_sandbox"]
_HEADER = re.compile(r"─── (.+?) ─+$")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without any AWS settings, and then ``extra``; Python buffers its output, as it does for users."""
    unset = ("AWS_", "PYTHONUNBUFFERED")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    return (
        clean | {"AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1"} | dict(extra or {})
    )


class Program:
    """A running jobs-sandbox; a context manager that leaves nothing behind."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(env),
        )
        self._arrived = threading.Condition()
        self._text = {"stdout": "", "stderr": ""}
        self._seen = 0  # blocks taken so far
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("stdout", self.process.stdout), ("stderr", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with suppress(BrokenPipeError):
                pipe.close()

    @property
    def stdout(self) -> str:
        return self._text["stdout"]

    @property
    def stderr(self) -> str:
        return self._text["stderr"]

    def send(self, *lines: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.process.stdin.flush()

    def wait_for(self, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
        """Wait until the condition, looked at after each piece of output, is true; its value."""
        with self._arrived:
            end = time.monotonic() + patience
            while not (value := condition()):
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError(
                        f"waited in vain.\nstdout:\n{self.stdout}\nstderr:\n{self.stderr}"
                    )
                self._arrived.wait(left)
            return value

    def wait_stderr(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until stderr holds ``text``."""
        self.wait_for(lambda: text in self.stderr, patience)

    def started(self) -> Self:
        """Wait until the program is connected."""
        self.wait_stderr("onnected to ")
        return self

    def blocks(self) -> list[tuple[str, str]]:
        """The whole blocks on stdout so far: title and body text."""
        return parse_blocks(self.stdout)

    def take(self, *titles: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for one new block of each title, in any order, and take them; JSON bodies parsed."""

        def there() -> list[tuple[str, str]] | None:
            fresh = self.blocks()[self._seen :]
            return fresh if sorted(t for t, _ in fresh[: len(titles)]) == sorted(titles) else None

        taken = self.wait_for(there, patience)[: len(titles)]
        self._seen += len(titles)
        return {title: json.loads(body) if body.startswith("{") else body for title, body in taken}

    def finish(self, patience: float = PATIENCE) -> int:
        """Close its input, and wait for its end; the exit status."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait(patience)
        for reader in self._readers:
            reader.join(PATIENCE)
        return status

    def _read(self, name: str, pipe: Any) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")()  # a chunk may end within a character
        while chunk := os.read(pipe.fileno(), 65536):
            with self._arrived:
                self._text[name] += decoder.decode(chunk)
                self._arrived.notify_all()


def parse_blocks(text: str) -> list[tuple[str, str]]:
    """The blocks that ``text`` holds whole: (title, body), a block being whole once an empty line follows it."""
    blocks: list[tuple[str, str]] = []
    title = ""
    body: list[str] = []
    for line in text.splitlines():
        if found := _HEADER.match(line):
            title, body = found[1], []
        elif title and not line and body:
            blocks.append((title, "\n".join(body)))
            title = ""
        elif title:
            body.append(line)
    return blocks


def run(
    arguments: Sequence[str],
    script: str = "",
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
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
