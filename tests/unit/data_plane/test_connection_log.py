"""The ups and downs of a connection become a few lines."""

import pytest

from jobs_sandbox.data_plane.connection_log import Connection


class Story:
    """A connection with a clock of its own, and what it told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.told: list[tuple[str, str]] = []
        self.connection = Connection(
            lambda state, message: self.told.append((state, message)), lambda: self.now
        )
        self.connection.restored()

    @property
    def messages(self) -> list[str]:
        return [message for _, message in self.told if message]


@pytest.fixture
def story() -> Story:
    return Story()


def test_no_connection_yet() -> None:
    """Before the first connection there is none."""
    assert not Connection(lambda *_: None).up


def test_first_connection(story: Story) -> None:
    """The first connection is a state, not a message: the start tells of it."""
    assert story.told == [("connected", "")]
    assert story.connection.up


def test_lost_and_restored(story: Story) -> None:
    """A loss is one line with its cause, a reconnect one line with its time."""
    story.now += 100
    story.connection.lost("the network")
    assert not story.connection.up
    assert (story.connection.losses, story.connection.cause) == (1, "the network")
    story.now += 3.21
    story.connection.restored()
    assert story.connection.up
    assert story.told[1:] == [
        ("reconnecting", "connection lost: the network"),
        ("connected", "reconnected after 3.2 s"),
    ]


def test_failed_attempts_are_summarised(story: Story) -> None:
    """Of failed attempts the first of each cause is told, and their number at the end."""
    story.connection.lost("the network")
    for cause in ["refused", "refused", "refused", "timeout", "refused", "timeout"]:
        story.now += 2
        story.connection.failed(cause)
        assert story.connection.cause == cause
    story.connection.restored()
    assert story.messages == [
        "connection lost: the network",
        "cannot reconnect yet: refused; trying on",
        "cannot reconnect yet: timeout; trying on",
        "reconnected after 12.0 s, 6 failed attempts",
    ]


def test_states(story: Story) -> None:
    """Until the connection is back, the state is ``reconnecting``, however often an attempt fails."""
    story.connection.lost("the network")
    for _ in range(8):
        story.connection.failed("refused")
    assert [state for state, _ in story.told[1:]] == ["reconnecting"] * 3


def test_two_failed_attempts(story: Story) -> None:
    """From two on, failed attempts are counted out."""
    story.connection.lost("the network")
    story.connection.failed("refused")
    story.connection.failed("refused")
    story.connection.restored()
    assert story.messages[-1] == "reconnected after 0.0 s, 2 failed attempts"


def test_one_failed_attempt(story: Story) -> None:
    """A single failed attempt is not counted out."""
    story.connection.lost("the network")
    story.connection.failed("refused")
    story.connection.restored()
    assert story.messages[-1] == "reconnected after 0.0 s"


def test_a_long_outage(story: Story) -> None:
    """Of a long outage a line now and then tells that it lasts, after 8, 16, 32 … attempts."""
    story.connection.lost("the network")
    for _ in range(40):
        story.now += 2
        story.connection.failed("refused")
    story.connection.restored()
    assert story.messages[2:] == [
        "still down after 8 attempts in 16 s: refused",
        "still down after 16 attempts in 32 s: refused",
        "still down after 32 attempts in 64 s: refused",
        "reconnected after 80.0 s, 40 failed attempts",
    ]


def test_causes_are_told_again_after_a_new_loss(story: Story) -> None:
    """A new loss is a new story: its failed attempts are told again."""
    for _ in range(2):
        story.now += 100
        story.connection.lost("the network")
        story.connection.failed("refused")
        story.connection.restored()
    assert story.messages.count("cannot reconnect yet: refused; trying on") == 2


def test_flood_of_losses(story: Story) -> None:
    """Of losses that follow one another quickly, the 1st, 2nd, 4th, 8th … are told, with their number and time."""
    for _ in range(20):
        story.now += 1
        story.connection.lost("taken over")
        story.now += 1
        story.connection.restored()
    assert [message for message in story.messages if "lost" in message] == [
        "connection lost: taken over",
        "connection lost: taken over (2 times in 2 s)",
        "connection lost: taken over (4 times in 6 s)",
        "connection lost: taken over (8 times in 14 s)",
        "connection lost: taken over (16 times in 30 s)",
    ]
    assert len(story.messages) == 10
    assert len(story.told) == 41
    assert story.connection.losses == 20


def test_a_new_cause_in_a_flood(story: Story) -> None:
    """In a flood of losses, one with a new cause is told."""
    for cause in ["taken over", "taken over", "the network", "taken over", "taken over"]:
        story.connection.lost(cause)
    assert story.messages == [
        "connection lost: taken over",
        "connection lost: taken over (2 times in 0 s)",
        "connection lost: the network (3 times in 0 s)",
        "connection lost: taken over (4 times in 0 s)",
    ]


def test_a_silent_loss_that_lasts(story: Story) -> None:
    """When the reconnect after a loss that was not told fails for a new cause, its end is told too."""
    for cause in ["", "", "refused"]:
        story.connection.lost("taken over")
        if cause:
            story.connection.failed(cause)
        story.connection.restored()
    assert story.messages[-2:] == [
        "cannot reconnect yet: refused; trying on",
        "reconnected after 0.0 s",
    ]
    assert len(story.messages) == 6


def test_silent_loss_has_silent_attempts(story: Story) -> None:
    """What follows a loss that is not told is not told either."""
    for _ in range(3):
        story.connection.lost("taken over")
        story.connection.failed("refused")
        story.connection.restored()
    assert len(story.messages) == 6


@pytest.mark.parametrize(
    ("stood", "message"), [(59, "(2 times in 59 s)"), (61, "connection lost: again")]
)
def test_sound_connection(story: Story, stood: float, message: str) -> None:
    """After a minute of standing, a loss is news again and counts from one."""
    story.connection.lost("once")
    story.connection.restored()
    story.now += stood
    story.connection.lost("again")
    assert story.messages[-1].endswith(message)


def test_causes_of_a_new_flood(story: Story) -> None:
    """In a new flood, each cause is news again."""
    for cause in ["one", "two"]:
        story.connection.lost(cause)
    story.connection.restored()
    story.now += 61
    for cause in ["one", "one", "two", "one"]:
        story.connection.lost(cause)
    assert story.messages[-4:-1] == [
        "connection lost: one",
        "connection lost: one (2 times in 0 s)",
        "connection lost: two (3 times in 0 s)",
    ]


def test_closing(story: Story) -> None:
    """When the program closes the connection, losing it is no news."""
    story.connection.closing = True
    story.connection.lost("closed")
    assert story.told == [("connected", "")]
    assert not story.connection.up


def test_real_clock() -> None:
    """Without a clock of the test's, times are real ones."""
    told: list[str] = []
    connection = Connection(lambda _, message: told.append(message))
    connection.restored()
    connection.lost("x")
    connection.restored()
    assert told == ["", "connection lost: x", "reconnected after 0.0 s"]


def test_each_outage_counts_its_own_attempts(story: Story) -> None:
    """The failed attempts of one outage are not those of the next."""
    for _ in range(2):
        story.now += 100
        story.connection.lost("the network")
        story.connection.failed("refused")
        story.connection.failed("refused")
        story.connection.restored()
    assert [message for message in story.messages if "attempts" in message] == [
        "reconnected after 0.0 s, 2 failed attempts"
    ] * 2


def test_broken_since(story: Story) -> None:
    """What was wrong with the connection since a mark: nothing, a loss, or that it is down; its cause is the last."""
    mark = story.connection.mark()
    assert story.connection.broken_since(mark) == ""
    story.connection.lost("the network")
    while_down = story.connection.mark()
    assert story.connection.broken_since(mark) == "the connection is down: the network"
    story.connection.failed("refused")
    assert story.connection.broken_since(while_down) == "the connection is down: refused"
    story.connection.restored()
    for earlier in (mark, while_down):
        assert (
            story.connection.broken_since(earlier) == "the connection was lost meanwhile: refused"
        )
    assert story.connection.broken_since(story.connection.mark()) == ""
