"""The terminal around a prompt. What it looks like on a real screen is proven with the whole program."""

import asyncio
import gc
import os
import select
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, create_app_session, run_in_terminal
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input.typeahead import clear_typeahead, get_typeahead
from prompt_toolkit.output import DummyOutput

from jobs_sandbox.ui import terminal as terminal_module
from jobs_sandbox.ui.terminal import Bar, DumbPainter, Painter, TerminalInput, keys_unseen
from tests.unit.fakes import TIMEOUT, until


class Terminal:
    """A pseudo-terminal, whose far end is the test's."""

    def __init__(self) -> None:
        self.far, slave = os.openpty()
        self.stdin = os.fdopen(slave)
        self.keys = TerminalInput(self.stdin)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.far, text.encode())

    @property
    def echoes(self) -> bool:
        """Whether what is typed is shown by the terminal itself."""
        return bool(termios.tcgetattr(self.stdin)[3] & termios.ECHO)


@pytest.fixture
async def terminal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    """A pseudo-terminal as standard input; nothing is drawn."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", terminal.stdin)
    with create_app_session(input=terminal.keys, output=DummyOutput()):
        yield terminal
    clear_typeahead(terminal.keys)
    terminal.stdin.close()
    os.close(terminal.far)


@pytest.fixture
async def prompting(terminal: Terminal) -> AsyncIterator["PromptSession[str]"]:
    """A prompt that is shown."""
    prompt: PromptSession[str] = PromptSession(input=terminal.keys, output=DummyOutput())
    task = asyncio.create_task(prompt.prompt_async(handle_sigint=False))
    await until(lambda: prompt.app.is_running and not terminal.echoes)
    yield prompt
    task.cancel()
    await asyncio.wait({task})


# Writing


async def test_a_write_is_in_a_thread(terminal: Terminal) -> None:
    """What is written may block, and so is not written on the event loop."""
    threads: list[threading.Thread] = []
    await Painter(terminal.keys)(lambda: threads.append(threading.current_thread()))
    assert threads != [threading.current_thread()]
    assert len(threads) == 1


async def test_keys_do_not_tear_what_is_written(
    terminal: Terminal, prompting: "PromptSession[str]"
) -> None:
    """While something is written above the prompt, keys are not echoed, and come to the prompt afterwards."""
    seen: list[bool] = []

    def write() -> None:
        seen.append(terminal.echoes)
        terminal.type("help")
        seen.append(prompting.default_buffer.text != "")

    await Painter(terminal.keys)(write)
    assert seen == [False, False]
    await until(lambda: prompting.default_buffer.text == "help")


async def test_the_prompt_is_off_while_it_is_written(
    terminal: Terminal, prompting: "PromptSession[str]"
) -> None:
    """The prompt is not drawn while something is written."""
    seen: list[bool] = []
    await Painter(terminal.keys)(lambda: seen.append(prompting.app._running_in_terminal))
    assert seen == [True]
    assert not prompting.app._running_in_terminal


async def test_others_get_the_terminal_as_they_need_it(
    terminal: Terminal, prompting: "PromptSession[str]"
) -> None:
    """What others run in the terminal, as the shell after Ctrl-Z, finds it with its echo, whoever waits to write."""
    seen: list[bool] = []
    go = asyncio.Event()

    class SlowToAnswer(DummyOutput):
        responds_to_cpr = True

    async def answers(timeout: int = 1) -> None:  # noqa: ASYNC109 - as it is called
        await go.wait()

    prompting.app.output = SlowToAnswer()
    prompting.app.renderer.wait_for_cpr_responses = answers  # type: ignore[method-assign]
    suspended = asyncio.ensure_future(run_in_terminal(lambda: seen.append(terminal.echoes)))
    await asyncio.sleep(0)
    writing = asyncio.create_task(Painter(terminal.keys)(lambda: seen.append(terminal.echoes)))
    await asyncio.sleep(0.01)
    go.set()
    await suspended
    await writing
    assert seen == [True, False]


async def test_others_get_the_terminal_as_it_was_found(terminal: Terminal) -> None:
    """The shell after Ctrl-Z has its terminal back with all its modes, and the prompt afterwards those that it set."""
    found = termios.tcgetattr(terminal.stdin)
    seen: list[object] = []
    with keys_unseen():
        prompt: PromptSession[str] = PromptSession(input=terminal.keys, output=DummyOutput())
        task = asyncio.create_task(prompt.prompt_async(handle_sigint=False))
        await until(
            lambda: prompt.app.is_running and termios.tcgetattr(terminal.stdin)[0] != found[0]
        )
        raw = termios.tcgetattr(terminal.stdin)
        await run_in_terminal(lambda: seen.append(termios.tcgetattr(terminal.stdin)))
        assert termios.tcgetattr(terminal.stdin) == raw
        task.cancel()
        await asyncio.wait({task})
    assert seen == [found]
    assert termios.tcgetattr(terminal.stdin) == found


async def test_one_write_after_another(terminal: Terminal) -> None:
    """Until a write is done, no other begins, and who is to draw waits."""
    painter = Painter(terminal.keys)
    go = threading.Event()
    story: list[str] = []

    def slow() -> None:
        assert go.wait(TIMEOUT)
        story.append("first")

    writes = [
        asyncio.create_task(painter(write)) for write in (slow, lambda: story.append("second"))
    ]
    await asyncio.sleep(0)
    drawing = asyncio.create_task(painter.written())
    await asyncio.sleep(0.02)
    assert (story, drawing.done()) == ([], False)
    go.set()
    await asyncio.gather(*writes, drawing)
    assert story == ["first", "second"]


async def test_a_write_that_fails(terminal: Terminal, prompting: "PromptSession[str]") -> None:
    """The error of a write is the writer's, and the prompt goes on as before."""

    def fail() -> None:
        raise OSError("the terminal is gone")

    painter = Painter(terminal.keys)
    with pytest.raises(OSError, match="the terminal is gone"):
        await painter(fail)
    await painter.written()
    terminal.type("help")
    await until(lambda: prompting.default_buffer.text == "help")


# A terminal that cannot move its cursor


class Dumb:
    """A painter for such a terminal, and what is typed there."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.typed = ""
        self.painter = DumbPainter("> ", lambda: self.typed)
        self.buffer = Buffer(on_text_changed=self.painter.show)

    def shown(self) -> str:
        """What was written since this was last asked."""
        return self._capsys.readouterr().out


@pytest.fixture
async def dumb(capsys: pytest.CaptureFixture[str]) -> Dumb:
    """A painter for a terminal that cannot move its cursor."""
    return Dumb(capsys)


def writer(text: str, then: Callable[[], object] = lambda: None) -> Callable[[], None]:
    def write() -> None:
        sys.stdout.write(text)
        then()

    return write


async def test_dumb_echo(dumb: Dumb) -> None:
    """What is typed is shown as it is added; what is changed otherwise is shown whole on a new line."""
    await dumb.painter.begin()
    for text in ("h", "he", "help", "hel", "wait", ""):
        dumb.buffer.text = text
    assert dumb.shown() == "> help\n> hel\n> wait"
    await dumb.painter.end()
    await dumb.painter.begin()
    dumb.buffer.text = "quit"
    assert dumb.shown() == "\n> quit"


async def test_dumb_write(dumb: Dumb) -> None:
    """Between two prompts a block is written as it is."""
    await dumb.painter(writer("block\n"))
    assert dumb.shown() == "block\n"


@pytest.mark.parametrize("typed", ["", "he"])
async def test_dumb_write_below(dumb: Dumb, typed: str) -> None:
    """A block goes below what is typed, in one piece; that is shown again below it, with what was typed meanwhile."""
    await dumb.painter.begin()
    dumb.typed = dumb.buffer.text = typed
    go = threading.Event()
    written = threading.Event()

    def write() -> None:
        sys.stdout.write("block")
        written.set()
        assert go.wait(TIMEOUT)
        sys.stdout.write("\n")

    writing = asyncio.create_task(dumb.painter(write))
    await until(written.is_set)
    dumb.typed = dumb.buffer.text = f"{typed}lp"
    go.set()
    await writing
    dumb.buffer.text = f"{typed}lps"
    assert dumb.shown() == f"> {typed}\nblock\n> {typed}lps"


async def test_dumb_line_that_ends_meanwhile(dumb: Dumb) -> None:
    """A line that ends while a block is written is shown whole below it before it ends."""
    await dumb.painter.begin()
    dumb.typed = dumb.buffer.text = "he"
    go = threading.Event()
    writing = asyncio.create_task(dumb.painter(writer("block\n", lambda: go.wait(TIMEOUT))))
    await asyncio.sleep(0)
    dumb.typed = dumb.buffer.text = "help"
    ending = asyncio.create_task(dumb.painter.end())
    await asyncio.sleep(0.01)
    assert not ending.done()
    go.set()
    await asyncio.gather(writing, ending)
    await dumb.painter(writer("answer\n"))
    assert dumb.shown() == "> he\nblock\n> help\nanswer\n"


async def test_dumb_writes_one_after_another(dumb: Dumb) -> None:
    """Until a write is done, no other begins, and who is to draw waits."""
    go = threading.Event()
    writes = [
        asyncio.create_task(dumb.painter(writer("first\n", lambda: [go.wait(TIMEOUT)].clear())))
    ]
    await asyncio.sleep(0)
    writes.append(asyncio.create_task(dumb.painter(writer("second\n"))))
    drawing = asyncio.create_task(dumb.painter.written())
    await asyncio.sleep(0.02)
    assert not drawing.done()
    go.set()
    await asyncio.gather(*writes, drawing)
    assert dumb.shown() == "first\nsecond\n"


# The bar


class Shown:
    """A bar, and what it was told."""

    def __init__(self, terminal: Terminal) -> None:
        self.interrupts = 0
        self.drawn: list[str] = []
        self.before = 0
        self.may_draw = asyncio.Event()
        self.may_draw.set()
        self.bar = Bar(
            terminal.keys,
            DummyOutput(),
            None,
            text=self._text,
            on_interrupt=self._interrupt,
            before_drawing=self._before_drawing,
        )

    def _text(self) -> str:
        self.drawn.append("bar")
        return "bar"

    def _interrupt(self) -> None:
        self.interrupts += 1

    async def _before_drawing(self) -> None:
        self.before += 1
        await self.may_draw.wait()


@pytest.fixture
async def shown(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """A bar that is shown soon."""
    monkeypatch.setattr(terminal_module, "_BAR_AFTER", 0.01)
    return Shown(terminal)


async def test_bar_is_shown_while_it_lasts(shown: Shown) -> None:
    """The bar is shown while what runs takes its time, and is gone afterwards: again and again."""
    for number in range(1, 3):
        async with shown.bar.shown():
            await until(lambda: shown.bar.app.is_running)
        assert not shown.bar.app.is_running
        assert shown.before == number


async def test_bar_for_what_is_quick(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is quick needs no bar."""
    monkeypatch.setattr(terminal_module, "_BAR_AFTER", 600)
    async with asyncio.timeout(TIMEOUT):
        async with shown.bar.shown():
            await asyncio.sleep(0.01)
    assert (shown.before, shown.drawn) == (0, [])


async def test_bar_waits_for_a_quiet_terminal(shown: Shown) -> None:
    """The bar is not drawn into what is being written; if that takes until the end, it is not drawn at all."""
    shown.may_draw.clear()
    async with shown.bar.shown():
        await until(lambda: shown.before)
        await asyncio.sleep(0.01)
        assert not shown.bar.app.is_running
    assert shown.drawn == []


async def test_bar_after_a_failure(shown: Shown) -> None:
    """Whatever ends what runs ends the bar, too, and is passed on."""
    for error in (ValueError, KeyboardInterrupt, asyncio.CancelledError):
        with pytest.raises(error):  # noqa: PT012
            async with shown.bar.shown():
                await until(lambda: shown.bar.app.is_running)
                raise error
        assert not shown.bar.app.is_running


async def test_bar_that_has_ended(shown: Shown) -> None:
    """A bar that is ending by itself, as when its terminal goes, is not ended once more."""
    async with shown.bar.shown():
        await until(lambda: shown.bar.app.is_running)
        shown.bar.app.exit()
        assert shown.bar.app.is_done
    assert not shown.bar.app.is_running


async def test_bar_keeps_what_is_typed(shown: Shown, terminal: Terminal) -> None:
    """What is typed while the bar is shown is kept for the next prompt, in order; Ctrl-C is not."""
    async with shown.bar.shown():
        await until(lambda: shown.bar.app.is_running and not terminal.echoes)
        terminal.type("help")
        terminal.type("\x1b[A\x03\r")
        await until(lambda: shown.interrupts)
        await asyncio.sleep(0.01)
    typed = [key.data for key in get_typeahead(terminal.keys)]
    assert typed == ["h", "e", "l", "p", "\x1b[A", "\r"]
    assert shown.interrupts == 1


async def test_bar_takes_the_answers_of_the_terminal(shown: Shown, terminal: Terminal) -> None:
    """What the terminal answers about its cursor is not typed."""
    rows: list[int] = []
    shown.bar.app.renderer.report_absolute_cursor_row = rows.append  # type: ignore[method-assign, assignment]
    async with shown.bar.shown():
        await until(lambda: shown.bar.app.is_running and not terminal.echoes)
        terminal.type("\x1b[7;1R")
        await until(lambda: rows)
    assert rows == [7]
    assert get_typeahead(terminal.keys) == []


async def test_bar_and_suspending(
    shown: Shown, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-Z suspends the program while the bar is shown, and is not typed."""
    suspended: list[object] = []
    monkeypatch.setattr(Application, "suspend_to_background", lambda app: suspended.append(app))
    async with shown.bar.shown():
        await until(lambda: shown.bar.app.is_running and not terminal.echoes)
        terminal.type("\x1a")
        await until(lambda: suspended)
    assert suspended == [shown.bar.app]
    assert get_typeahead(terminal.keys) == []


async def test_bar_counts_seconds(shown: Shown) -> None:
    """The bar is drawn anew as time goes by, though nothing happens."""
    async with shown.bar.shown():
        await until(lambda: shown.drawn)
        before = len(shown.drawn)
        await until(lambda: len(shown.drawn) > before)
        before = len(shown.drawn)
        await until(lambda: len(shown.drawn) > before)


async def test_bar_on_a_terminal_that_goes(shown: Shown, terminal: Terminal) -> None:
    """A terminal that goes away ends the bar alone, without a word on what cannot be read any more."""
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with shown.bar.shown():
        await until(lambda: shown.bar.app.is_running and not terminal.echoes)
        shown.bar.app.exit(exception=EOFError())  # as prompt_toolkit does then
        await until(lambda: not shown.bar.app.is_running)
    gc.collect()
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


# Between two prompts


@pytest.fixture
def tty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A pseudo-terminal as standard input."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", terminal.stdin)
    yield terminal
    terminal.stdin.close()


def test_keys_unseen(tty: Terminal) -> None:
    """Between two prompts the terminal neither echoes nor suspends the program; afterwards it is as it was."""
    before = termios.tcgetattr(tty.stdin)
    with keys_unseen():
        between = termios.tcgetattr(tty.stdin)
        assert not tty.echoes
        assert between[6][termios.VSUSP] == b"\0"
        assert between[3] | termios.ECHO | termios.ICANON == before[3]
    assert termios.tcgetattr(tty.stdin) == before
    with pytest.raises(ValueError, match="x"), keys_unseen():
        raise ValueError("x")
    assert termios.tcgetattr(tty.stdin) == before
    os.close(tty.far)


def test_ctrl_d_between_two_prompts(tty: Terminal) -> None:
    """What is typed between two prompts is at the next one as it was typed: there, Ctrl-D ends no line."""
    with keys_unseen():
        tty.type("quit\x04\x7f")
        assert select.select([tty.stdin], [], [], TIMEOUT)[0]  # the terminal has taken it in
        with tty.keys.raw_mode():
            assert os.read(tty.stdin.fileno(), 100) == b"quit\x04\x7f"
    os.close(tty.far)


def test_keys_unseen_on_a_terminal_that_goes(tty: Terminal) -> None:
    """A terminal that goes away needs no restoring."""
    with keys_unseen():
        os.close(tty.far)
        assert tty.stdin.read() == ""
