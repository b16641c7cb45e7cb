"""Draw docs/session.svg and docs/life.svg: a real session under a terminal emulator.

Run from the project's root, with the dev extra: ``python docs/make_picture.py``.
"""

import sys
import tempfile
from html import escape
from pathlib import Path
from typing import Any, NamedTuple, Self

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.drivers.terminal import PROMPT, Terminal

CREATE = 'create-job Job1 {"Todo":"Reboot"}'
START = "start-next-pending-job-execution"
UPDATE = "update-job-execution Job1 SUCCEEDED"
EVENTS = ("JobExecutionsChangedEvent", "NextJobExecutionChangedEvent")

COLUMNS = 92  # as many as the bar needs
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
    """A screen: cells, row by row; the cursor's column and row; how many seconds it lasts."""

    rows: list[list[Any]]
    cursor: tuple[int, int]
    seconds: float


class Session:
    """A session in a terminal of its own; a context manager. It begins with an empty screen."""

    def __init__(self, rows: int) -> None:
        self._state = tempfile.TemporaryDirectory()
        self.terminal = Terminal(
            ["--local"], {"XDG_STATE_HOME": self._state.name}, columns=COLUMNS, rows=rows
        )

    def __enter__(self) -> Self:
        self.terminal.wait_prompt()
        self.clear()
        return self

    def __exit__(self, *_: object) -> None:
        self.terminal.__exit__()
        self._state.cleanup()

    def clear(self) -> None:
        """Clear the screen, as Ctrl-L does."""
        self.terminal.send("\x0c")
        self.terminal.wait_for(lambda: self.terminal.screen.display[0].rstrip() == PROMPT)

    def enter(self, line: str, *titles: str, frames: list[Frame] | None = None) -> None:
        """Type a line and wait for its blocks; add the screens before and after to ``frames``."""
        self.terminal.send(line)
        self.terminal.wait_prompt(line)
        frames = [] if frames is None else frames
        frames.append(self.frame(1.5))
        before = {title: self.terminal.text().count(f" {title} ") for title in titles}
        self.terminal.send("\r")
        self.terminal.wait_for(
            lambda: all(
                self.terminal.text().count(f" {title} ") > before[title] for title in titles
            )
        )
        self.terminal.wait_prompt()
        frames.append(self.frame(3.5))

    def frame(self, seconds: float = 0) -> Frame:
        """The screen as it is now."""
        screen = self.terminal.screen
        rows = [[screen.buffer[y][x] for x in range(screen.columns)] for y in range(screen.lines)]
        return Frame(rows, (screen.cursor.x, screen.cursor.y), seconds)


def record_still() -> Frame:
    """A device reports that a job is done; the next command is being typed."""
    with Session(rows=26) as session:
        session.enter(CREATE, "CreateJobOutput", *EVENTS)
        session.enter(START, "StartNextJobExecutionResponse")
        session.clear()
        session.enter(UPDATE, "UpdateJobExecutionResult", *EVENTS)
        session.terminal.wait_for(
            lambda: "0 queued, 0 in progress" in session.terminal.screen.display[-1]
        )
        session.terminal.send("expect Job1 su")
        session.terminal.wait_for(
            lambda: any("has done the job" in row for row in session.terminal.screen.display)
        )
        return session.frame()


def record_life() -> list[Frame]:
    """A job goes through its life."""
    frames: list[Frame] = []
    with Session(rows=44) as session:
        session.enter(CREATE, "CreateJobOutput", *EVENTS, frames=frames)
        session.enter(START, "StartNextJobExecutionResponse", frames=frames)
        session.enter(UPDATE, "UpdateJobExecutionResult", *EVENTS, frames=frames)
        session.enter("expect Job1 SUCCEEDED", "DescribeJobExecutionOutput", frames=frames)
    return frames


def still_picture(frame: Frame) -> str:
    """One screen."""
    title = "<title>jobs-sandbox: a device has done its job, and the events arrive</title>"
    return _document([title], _cells(frame), len(frame.rows))


def animation(frames: list[Frame]) -> str:
    """The frames one after another, for ever; where nothing may move, the last one."""
    total = sum(frame.seconds for frame in frames)
    style, groups, begin = (
        ["@media (prefers-reduced-motion: reduce) { g { animation: none !important } }"],
        [],
        0.0,
    )
    for number, frame in enumerate(frames):
        start, end = 100 * begin / total, 100 * (begin + frame.seconds) / total
        begin += frame.seconds
        style.append(
            f"@keyframes f{number} {{ 0%, {start:.2f}% {{ opacity: 0 }} "
            f"{start + 0.01:.2f}%, {end - 0.01:.2f}% {{ opacity: 1 }} "
            f"{end:.2f}%, 100% {{ opacity: 0 }} }}"
        )
        opacity = int(frame is frames[-1])
        groups += [
            f'<g opacity="{opacity}" style="animation: f{number} {total:g}s infinite">',
            *_cells(frame),
            "</g>",
        ]
    title = "<title>jobs-sandbox: the life of a job, from its creation to its end</title>"
    return _document(
        [title, f"<style>{' '.join(style)}</style>"],
        groups,
        max(len(frame.rows) for frame in frames),
    )


def _document(head: list[str], body: list[str], rows: int) -> str:
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, rows * CELL_HEIGHT + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"',
        f' font-size="{FONT_SIZE}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas,',
        ' monospace" xml:space="preserve">',
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
    size = f'width="{columns * CELL_WIDTH:g}" height="{CELL_HEIGHT}"'
    return f'<rect x="{left:g}" y="{top:g}" {size} fill="{colour}"/>'


if __name__ == "__main__":
    folder = Path(__file__).parent
    (folder / "session.svg").write_text(still_picture(record_still()), encoding="utf-8")
    (folder / "life.svg").write_text(animation(record_life()), encoding="utf-8")
