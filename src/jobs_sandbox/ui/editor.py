"""Ctrl-X Ctrl-E: a line goes through the user's editor, and what goes wrong is told in words."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from prompt_toolkit.application import in_terminal

from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.threads import in_thread

_USUAL = ("editor", "nano", "vi", "emacs")  # where neither variable names one
_NEXT = "set $EDITOR to an editor, and start again."
_Started = Callable[["subprocess.Popen[bytes]"], None]


async def edited(text: str) -> str:
    """What the user makes of a text, in ``$VISUAL`` or ``$EDITOR``; while a prompt is shown.

    Raises:
        SandboxError: there is no editor, it failed, or what it left cannot be read.

    """
    command = _editor()
    started: list[subprocess.Popen[bytes]] = []
    left: list[bool] = []

    def begin(process: "subprocess.Popen[bytes]") -> None:
        started.append(process)
        if left:  # who waits for it was cancelled while it started
            process.terminate()

    try:
        with TemporaryDirectory() as folder:
            path = Path(folder, "line.json")
            async with in_terminal():
                try:
                    return await in_thread(lambda: _edit(command, text, path, begin))
                finally:
                    left.append(True)
                    for process in started:  # one that has ended does not mind
                        process.terminate()
    except UnicodeDecodeError:
        reason = "it left what is not UTF-8 text"
    except OSError as error:
        reason = f"the text cannot be read or written ({error.strerror})"
    raise SandboxError(f"the line stays as it was: {command[0]}: {reason}.")


def _editor() -> list[str]:
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        if command := shlex.split(chosen):
            return command
    except ValueError as error:
        raise SandboxError(
            f"{chosen!r} is no editor's command: {str(error).lower()}.", next_step=_NEXT
        ) from None
    for name in _USUAL:
        if shutil.which(name):
            return [name]
    raise SandboxError(
        f"there is no editor: neither $VISUAL nor $EDITOR, nor {', '.join(_USUAL)}.",
        next_step=_NEXT,
    )


def _edit(command: list[str], text: str, path: Path, started: _Started) -> str:
    """Run an editor to its end, in a thread; what it left."""
    path.write_text(text, "utf-8", "replace")
    try:
        process = subprocess.Popen([*command, str(path)])
    except OSError as error:
        message = f"the editor {command[0]} cannot be started: {error.strerror}."
        raise SandboxError(message, next_step=_NEXT) from None
    started(process)
    if status := process.wait():
        how = f"exit status {status}" if status > 0 else f"signal {-status}"
        raise SandboxError(f"the line stays as it was: {command[0]} ended with {how}.")
    return path.read_text("utf-8").removesuffix("\n")
