"""Commands from a pipe or a file, one a line."""

import asyncio
from collections.abc import AsyncIterator
from typing import BinaryIO

from jobs_sandbox.core.errors import Interrupted, Quit, SandboxError, UsageError
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.console import Console

PROMPT = "jobs-sandbox> "

LONGEST_LINE = 2**20
"""Bytes; a job document has 32,768 at most."""


async def run_script(
    session: Session, console: Console, lines: AsyncIterator[bytes], prompt: str = ""
) -> bool:
    """Run lines one after another, to their end or to ``quit``.

    A failure is reported with its line number, and the rest goes on.

    Args:
        session: runs each line.
        console: shows what comes of it.
        lines: as `read_lines` returns them.
        prompt: shown before each line, for a terminal that cannot do more.

    Returns:
        Whether every line was read and every command succeeded, those after ``should`` excepted.

    """
    number = 0
    succeeded = True
    console.prompt(prompt)
    try:
        async for raw in lines:
            number += 1
            line = raw.decode("utf-8", "backslashreplace").strip("\r\n\ufeff")
            try:
                if not _is_utf8(raw):
                    raise UsageError("the line is not UTF-8 text.", next_step="write it in UTF-8.")
                if len(raw) > LONGEST_LINE:
                    raise UsageError(
                        f"a line of more than {LONGEST_LINE:,} bytes.", next_step="split it."
                    )
                await session.run(line)
            except Quit:
                break
            except Interrupted:
                succeeded = False
            except SandboxError as error:
                succeeded = succeeded and error.is_warning
                place = {} if prompt else {"line": number, "command": line[:80]}
                console.error(error, **place)
            console.prompt(prompt)
            await console.flush()
    except SandboxError as error:  # the lines cannot be read
        succeeded = False
        console.error(error)
    except asyncio.CancelledError:
        if not console.closed:
            raise
        # Otherwise the reader of our output has ended, and so does the script.
    return succeeded


async def read_lines(file: BinaryIO) -> AsyncIterator[bytes]:
    """The lines of a file; one of more than `LONGEST_LINE` bytes is cut after the next byte.

    Raises:
        SandboxError: it cannot be read.

    """
    piece = b"\n"
    while True:
        begins_line = piece.endswith(b"\n")
        try:
            piece = await in_thread(lambda: file.readline(LONGEST_LINE + 1))
        except OSError as error:
            raise SandboxError(
                f"standard input cannot be read: {error.strerror}.",
                cause="a redirection for writing, as nohup makes it",
                next_step="give it a file or a pipe with commands.",
            ) from error
        if not piece:
            return
        if begins_line:
            yield piece


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
