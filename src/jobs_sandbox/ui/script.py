"""Commands from a pipe or a file, one a line."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from jobs_sandbox.core.errors import Quit, SandboxError, UsageError
from jobs_sandbox.core.threads import in_thread
from jobs_sandbox.session.session import Session
from jobs_sandbox.ui.console import Console

LONGEST_LINE = 2**20  # bytes; a job document has 32,768 at most
_CHUNK = 2**16


async def run_script(
    session: Session, console: Console, lines: AsyncIterator[bytes | None]
) -> bool:
    """Run lines one after another, to their end or to ``quit``; blank ones and ``#`` comments do nothing.

    A failure is reported with its line number, and the rest goes on.

    Returns:
        Whether every command succeeded.

    """
    number, succeeded = 0, True
    try:
        async for raw in lines:
            number += 1
            line = (
                ""
                if raw is None
                else raw.decode("utf-8", "backslashreplace").rstrip("\r\n").removeprefix("\ufeff")
            )
            try:
                if raw is None:
                    raise UsageError(
                        f"a line of more than {LONGEST_LINE:,} bytes.", next_step="split it."
                    )
                await session.run(line)
            except Quit:
                break
            except SandboxError as error:
                succeeded = False
                console.error(error, line=number, command=line[:80])
            await console.flush()
    except asyncio.CancelledError:
        if (
            not console.closed
        ):  # else nobody reads the output any more, and the script ends as if it ended here
            raise
    return succeeded


async def read_lines(descriptor: int, warn: Callable[[str], None]) -> AsyncIterator[bytes | None]:
    """The lines of a file; None for one of more than `LONGEST_LINE` bytes.

    A file that cannot be read ends like one that is empty, with a warning.
    """
    begun = bytearray()
    while True:
        try:
            chunk = await in_thread(lambda: os.read(descriptor, _CHUNK))
        except OSError as error:
            warn(f"the standard input cannot be read ({error.strerror}): taken as its end")
            chunk = b""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            begun += end
            yield _whole(begun)
            begun.clear()
        if len(begun) <= LONGEST_LINE:  # more of it need not be kept
            begun += rest
        if not chunk:
            if begun:
                yield _whole(begun)
            return


def _whole(line: bytearray) -> bytes | None:
    return bytes(line) if len(line) <= LONGEST_LINE else None
