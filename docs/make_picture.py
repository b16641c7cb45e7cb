"""Draw docs/session.svg and docs/life.svg: a real session under a terminal emulator.

Run from the project's root, with the dev extra: ``python docs/make_picture.py``.
"""

import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.terminal import Terminal

COLUMNS, ROWS = 80, 48
CELL_WIDTH, CELL_HEIGHT, FONT_SIZE, MARGIN = 8.4, 18, 14, 14
BACKGROUND, FOREGROUND = "#1d2021", "#e8e4d9"
COLOURS = {
    "green": "#98c379",
    "cyan": "#56b6c2",
    "blue": "#61afef",
    "red": "#e06c75",
    "magenta": "#c678dd",
    "default": FOREGROUND,
}


class Frame(NamedTuple):
    """A screen: its cells, row by row, the cursor's column and row; and for how many seconds it is shown."""

    rows: list[list[Any]]
    cursor: tuple[int, int]
    seconds: float


def snapshot(screen: Any, seconds: float = 0) -> Frame:
    """The screen as it is now."""
    rows = [[screen.buffer[y][x] for x in range(COLUMNS)] for y in range(ROWS)]
    return Frame(rows, (screen.cursor.x, screen.cursor.y), seconds)


def record() -> tuple[Frame, list[Frame]]:
    """A job goes through its life: the screen after it was created, and the frames of all of it."""
    frames: list[Frame] = []
    with (
        tempfile.TemporaryDirectory() as state,
        Terminal(["--local"], {"XDG_STATE_HOME": state}, columns=COLUMNS, rows=ROWS) as terminal,
    ):

        def keep(seconds: float) -> None:
            frames.append(snapshot(terminal.screen, seconds))

        def type_and_enter(line: str, *titles: str) -> None:
            terminal.send("\x0c")
            terminal.wait_for(lambda: terminal.screen.display[0].rstrip() == "jobs-sandbox>")
            terminal.send(line)
            terminal.wait_prompt(line)
            keep(1.5)
            terminal.send("\r")
            terminal.wait_for(lambda: all(any(title in row for row in terminal.screen.display) for title in titles))
            terminal.wait_prompt()
            keep(3.5)

        terminal.wait_prompt()
        both = ("JobExecutionsChangedEvent", "NextJobExecutionChangedEvent")
        type_and_enter('create-job Job1 {"Todo":"Reboot"}', "CreateJobOutput", *both)
        terminal.send("start")
        terminal.wait_for(lambda: any("move the next queued" in row for row in terminal.screen.display))
        still = snapshot(terminal.screen)
        terminal.send("\x03")
        terminal.wait_prompt()
        type_and_enter("start-next-pending-job-execution", "StartNextJobExecutionResponse")
        type_and_enter("update-job-execution Job1 SUCCEEDED", "UpdateJobExecutionResult", *both)
        type_and_enter("expect Job1 SUCCEEDED", "DescribeJobExecutionOutput")
        return still, frames


def still_picture(frame: Frame) -> str:
    """One screen."""
    return _document(["<title>jobs-sandbox: a job is created, and its events arrive</title>"], _cells(frame))


def animation(frames: list[Frame]) -> str:
    """The frames one after another, for ever."""
    total = sum(frame.seconds for frame in frames)
    style, groups, begin = [], [], 0.0
    for number, frame in enumerate(frames):
        start, end = 100 * begin / total, 100 * (begin + frame.seconds) / total
        begin += frame.seconds
        style.append(
            f"@keyframes f{number} {{ 0%, {start:.2f}% {{ opacity: 0 }} "
            f"{start + 0.01:.2f}%, {end:.2f}% {{ opacity: 1 }} "
            f"{min(end + 0.01, 100):.2f}%, 100% {{ opacity: {1 if number == len(frames) - 1 else 0} }} }}"
        )
        groups += [f'<g opacity="0" style="animation: f{number} {total:g}s infinite">', *_cells(frame), "</g>"]
    title = "<title>jobs-sandbox: the life of a job, from its creation to its end</title>"
    return _document([title, f"<style>{' '.join(style)}</style>"], groups)


def _document(head: list[str], body: list[str]) -> str:
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, ROWS * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" font-size="{FONT_SIZE}"',
        ' font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" xml:space="preserve">',
        *head,
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
    ]
    return "\n".join([*parts, *body, "</svg>", ""])


def _cells(frame: Frame) -> list[str]:
    """The screen as it is, cell by cell, in runs of one style."""
    parts = []
    for y, row in enumerate(frame.rows):
        start = 0
        while start < COLUMNS:
            style = _style(row[start])
            end = start
            while end < COLUMNS and _style(row[end]) == style:
                end += 1
            parts += _run("".join(cell.data for cell in row[start:end]), start, y, *style)
            start = end
    parts.append(_box(*frame.cursor, 1, FOREGROUND))
    return parts


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
    still, frames = record()
    folder = Path(__file__).parent
    (folder / "session.svg").write_text(still_picture(still), encoding="utf-8")
    (folder / "life.svg").write_text(animation(frames), encoding="utf-8")
