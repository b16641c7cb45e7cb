"""Draw docs/session.svg: a real session under a terminal emulator. Run from the project's root, with the dev extra.

python docs/make_picture.py
"""

import re
import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.terminal import Terminal

from jobs_sandbox.control_plane.client import new_client
from jobs_sandbox.local.embedded import ACCOUNT, REGION

COLUMNS, ROWS = 92, 36
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 18, 14, 14
BACKGROUND, FOREGROUND = "#1d2021", "#e8e4d9"
COLOURS = {"green": "#98c379", "cyan": "#56b6c2", "red": "#e06c75", "magenta": "#c678dd", "default": FOREGROUND}
GREY = "#8a8a8a"


def record() -> Terminal:
    """A session in which an event arrives above a half-typed command."""
    with (
        tempfile.TemporaryDirectory() as state,
        Terminal(["--local"], {"XDG_STATE_HOME": state}, columns=COLUMNS, rows=ROWS) as terminal,
    ):
        terminal.wait_prompt()
        [url] = re.findall(r"control plane: (\S+)", terminal.text())
        terminal.send("get-pending-job-executions\r")
        terminal.wait_text('"timestamp"')
        terminal.wait_prompt()
        half_typed = "update-job-execution Re"
        terminal.send(half_typed)
        terminal.wait_prompt(half_typed)
        operator = new_client("iot", region=REGION, endpoint_url=url, keys=("test", "test"))
        operator.create_job(
            jobId="Reboot-42",
            targets=[f"arn:aws:iot:{REGION}:{ACCOUNT}:thing/SandboxThing"],
            document='{"Todo":"Reboot"}',
            targetSelection="SNAPSHOT",
        )
        terminal.wait_text("NextJobExecutionChangedEvent")
        terminal.wait_for(lambda: "1 queued" in terminal.screen.display[-1])
        terminal.send("b")
        terminal.wait_for(lambda: re.search("Reboot-42 +QUEUED", terminal.text()))  # completed from the event
        terminal.wait_prompt(f"{half_typed}b")
        return terminal


def svg(screen: Any) -> str:
    """The screen as it is, cell by cell, in runs of one style."""
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, ROWS * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-size="{FONT_SIZE}"',
        ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" xml:space="preserve">',
        "<title>jobs-sandbox: an event arrives above a half-typed command</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]
    for y in range(ROWS):
        row = [screen.buffer[y][x] for x in range(COLUMNS)]
        start = 0
        while start < COLUMNS:
            style = _style(row[start])
            end = start
            while end < COLUMNS and _style(row[end]) == style:
                end += 1
            parts += _run("".join(cell.data for cell in row[start:end]), start, y, *style)
            start = end
    x, y = screen.cursor.x, screen.cursor.y
    parts.append(_box(x, y, 1, FOREGROUND))
    return "\n".join([*parts, "</svg>", ""])


def _style(cell: Any) -> tuple[str, str]:
    foreground = COLOURS.get(cell.fg) or f"#{cell.fg}"
    background = BACKGROUND if cell.bg == "default" else COLOURS.get(cell.bg) or f"#{cell.bg}"
    if cell.fg == "default" and cell.bg != "default":
        foreground = BACKGROUND
    return (background, foreground) if cell.reverse else (foreground, background)


def _run(text: str, x: int, y: int, foreground: str, background: str) -> list[str]:
    parts = []
    if background != BACKGROUND:
        parts.append(_box(x, y, len(text), background))
    if text.strip():
        left, base = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT + FONT_SIZE
        length = len(text.rstrip()) * CELL_WIDTH
        place = f'x="{left:g}" y="{base:g}" textLength="{length:g}"'
        parts.append(f'<text {place} fill="{foreground}">{escape(text.rstrip())}</text>')
    return parts


def _box(x: int, y: int, columns: int, colour: str) -> str:
    left, top = MARGIN + x * CELL_WIDTH, MARGIN + y * CELL_HEIGHT
    return f'<rect x="{left:g}" y="{top:g}" width="{columns * CELL_WIDTH:g}" height="{CELL_HEIGHT}" fill="{colour}"/>'


if __name__ == "__main__":
    Path(__file__).with_name("session.svg").write_text(svg(record().screen), encoding="utf-8")
