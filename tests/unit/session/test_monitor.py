"""What the monitor shows, records and counts."""

import pytest

from jobs_sandbox.core import blocks
from jobs_sandbox.core.blocks import Block
from jobs_sandbox.session.monitor import Monitor
from tests.unit.session.conftest import FakeOutput

QUEUED = Block(blocks.CHANGED, {"jobs": {"QUEUED": [{"jobId": "J"}]}})


@pytest.fixture
async def monitor(output: FakeOutput) -> Monitor:
    """A monitor that nothing has reported to."""
    return Monitor(output)


async def test_an_event(monitor: Monitor, output: FakeOutput) -> None:
    """An event is recorded and shown before observers are called, and may be taken once."""
    seen: list[object] = []
    monitor.observe(lambda: seen.append((monitor.executions.counts(), list(output.shown))))
    arrival = monitor.arrival()
    assert (monitor.last_event, arrival.done()) == (0, False)
    monitor.event(QUEUED)
    assert seen == [((1, 0), [("event", QUEUED)])]
    assert monitor.last_event > 0
    assert (arrival.done(), monitor.arrival().done()) == (True, False)
    assert [monitor.take_event(blocks.CHANGED) for _ in range(2)] == [True, False]


async def test_an_event_with_a_note(monitor: Monitor, output: FakeOutput) -> None:
    """A message that is not as AWS documents it is shown, but no wait takes it."""
    arrival = monitor.arrival()
    monitor.event(QUEUED._replace(note="not documented"))
    assert len(output.shown) == 1
    assert not monitor.take_event(blocks.CHANGED)
    assert not arrival.done()


async def test_caught_up(monitor: Monitor, output: FakeOutput) -> None:
    """The pending executions after a reconnect are shown with a note, and recorded."""
    changes: list[object] = []
    monitor.observe(lambda: changes.append(monitor.executions.counts()))
    monitor.caught_up(Block(blocks.GET_PENDING, {"queuedJobs": [], "inProgressJobs": []}))
    [(kind, block)] = output.shown
    assert kind == "event"
    assert "lost" in block.note
    assert changes == [(0, 0)]


async def test_connection(monitor: Monitor, output: FakeOutput) -> None:
    """A loss is a warning, a reconnect a notice; a state begins when it changes."""
    states: list[tuple[str, float]] = []
    monitor.observe(lambda: states.append((monitor.state, monitor.since)))
    monitor.connection("connected", "")
    monitor.connection("reconnecting", "lost")
    monitor.connection("reconnecting", "still lost")
    monitor.connection("connected", "back")
    monitor.warning("careful")
    names, times = zip(*states, strict=True)
    assert names == ("connected", "reconnecting", "reconnecting", "connected")
    assert times[0] < times[1] == times[2] < times[3]
    messages = [("warning", "lost"), ("warning", "still lost"), ("notice", "back")]
    assert output.reported == [*messages, ("warning", "careful")]
