"""What the embedded AWS IoT has seen of the device, as counts and as a story."""

from typing import Any

import pytest

from jobs_sandbox.core.protocols import End, Switch
from jobs_sandbox.session.activity import Activity

CLIENT = {
    "client_id": "test-device",
    "connected": True,
    "subscriptions": ["$aws/things/T/jobs/notify"],
    "unacknowledged": 2,
}
UPDATE = {"operation": "update", "job_id": "J"}
LOG: list[dict[str, Any]] = [
    {"time": 10.0, "what": "connect", "mqtt": 5, "keep_alive": 30},
    {"time": 10.1, "what": "connack", "code": 0, "session_present": False},
    {"time": 10.2, "what": "subscribe", "filter": "$aws/things/T/jobs/notify", "code": 1},
    {"time": 10.3, "what": "subscribe", "filter": "#", "code": 128},
    {"time": 10.3, "what": "refused", "action": "iot:Subscribe", "resource": "topicfilter/#"},
    {"time": 10.4, "what": "refused", "action": "iot:Subscribe", "resource": "topicfilter/#"},
    {"time": 11.0, "what": "event", "name": "notify"},
    {"time": 11.5, "what": "request", "status": "SUCCEEDED"} | UPDATE,
    {"time": 11.6, "what": "response", "outcome": "rejected", "code": "InternalError"} | UPDATE,
    {"time": 12.5, "what": "connect", "mqtt": 4, "keep_alive": 30},
    {"time": 13.0, "what": "fault", "kind": "silence", "detail": ""},
]
SEEN = {"clients": [CLIENT], "log": LOG, "wildcards": ["iot:*"]}


@pytest.mark.parametrize(
    ("fact", "count"),
    [
        ("connects", 2),
        ("subscribes", 1),
        ("update", 1),
        ("get", 0),
        ("requests", 1),
        ("reports", 1),
        ("rejected", 1),
        ("refused", 2),
        ("ends", 1),
        ("unacknowledged", 2),
        ("wildcards", 1),
    ],
)
def test_facts(fact: str, count: int) -> None:
    """Each fact counts what it is about; a refused subscription is none."""
    assert Activity(SEEN, [End(14, "SIGSEGV")]).count(fact) == count


def test_since() -> None:
    """What happened before a point in time is left out."""
    activity = Activity(SEEN, [End(9, "SIGSEGV")], since=12)
    assert (activity.count("connects"), activity.count("ends")) == (1, 0)


@pytest.mark.parametrize(
    ("fact", "circumstances"),
    [
        ("connects", "the device has ended: SIGSEGV; the last pauses between them: 2.5 s"),
        ("wildcards", "the policy of the device has iot:*"),
        ("reports", "the device reported SUCCEEDED for J 2 times; the last time 0.5 s after"),
    ],
)
def test_circumstances(fact: str, circumstances: str) -> None:
    """A verdict says what may explain the number."""
    seen = SEEN
    if fact == "reports":
        asked = {"time": 14.0, "what": "request", "operation": "get"}
        again = {"time": 14.5, "what": "request", "status": "SUCCEEDED"} | UPDATE
        seen = SEEN | {"log": [*LOG, asked, again]}
    assert circumstances in Activity(seen, [End(14, "SIGSEGV")]).circumstances(fact)


def test_a_wrong_certificate() -> None:
    """A device that connects while the server shows a wrong certificate has accepted it."""
    shown = {"time": 1.0, "what": "fault", "kind": "certificate", "detail": "expired"}
    right = {"time": 30.0, "what": "fault", "kind": "certificate", "detail": "right"}
    log = [shown, *LOG]
    wrong = Activity(SEEN | {"log": log}, since=5)
    assert wrong.circumstances("connects").endswith("a server certificate that is wrong: expired")
    over = Activity(SEEN | {"log": [*log, right]})
    assert "certificate" not in over.circumstances("connects")
    assert over.story()[0].endswith("is shown this server certificate from now on: expired")


def test_body() -> None:
    """The block has the counts, the pauses, and each refusal once."""
    assert Activity(SEEN).body() == {
        "clientIds": ["test-device"],
        "connected": True,
        "connects": 2,
        "ends": 0,
        "pausesBetweenConnects": [2.5],
        "refused": ["iot:Subscribe on topicfilter/#"],
        "rejected": {"InternalError": 1},
        "requests": {"describe": 0, "get": 0, "start-next": 0, "update": 1},
        "subscribes": 1,
        "subscriptions": ["$aws/things/T/jobs/notify"],
        "unacknowledged": 2,
        "wildcards": ["iot:*"],
    }
    assert Activity(SEEN, since=5).body()["since"] == 5


def test_story() -> None:
    """Everything is listed in order of time, with the seconds since the beginning."""
    switches = [Switch(9.5, "start"), Switch(11.8, "stop")]
    story = Activity(SEEN, [End(12, "exit status 3")], switches=switches).story()
    assert (story[0], story[-4]) == (
        "   0.0 s  is started",
        "   2.3 s  is stopped, as by a power cut",
    )
    story = Activity(SEEN, [End(12, "exit status 3")]).story()
    assert story[2:4] == [
        "   0.2 s  subscribes to $aws/things/T/jobs/notify (QoS 1)",
        "   0.3 s  is refused a subscription to #: 128",
    ]
    assert story[-6:] == [
        "   1.0 s  gets an event: notify",
        "   1.5 s  asks: update J SUCCEEDED",
        "   1.6 s  is answered: update J rejected InternalError",
        "   2.0 s  has ended: exit status 3",
        "   2.5 s  connects (MQTT 3.1.1, keep-alive 30 s)",
        "   3.0 s  meets a fault: silence",
    ]


def test_a_long_story() -> None:
    """A device that does the same again and again does not bury its begin and its end."""
    many = [{"time": float(second), "what": "event", "name": str(second)} for second in range(100)]
    story = Activity(SEEN | {"log": many}).story()
    assert len(story) == 41
    assert (story[15], story[-1]) == ("          … 60 more", "  99.0 s  gets an event: 99")


def test_a_device_that_never_came() -> None:
    """Without a client, nothing has happened."""
    activity = Activity({"clients": [], "log": [], "wildcards": []})
    assert (activity.is_connected, activity.is_at_work, activity.story()) == (False, False, [])


@pytest.mark.parametrize(
    ("name", "status", "deaf"),
    [
        ("$aws/things/T/jobs/notify-next", "QUEUED", False),
        ("$aws/things/T/jobs/#", "QUEUED", False),
        ("other/topic", "QUEUED", True),
        ("other/topic", "IN_PROGRESS", False),
    ],
)
def test_a_deaf_device(name: str, status: str, *, deaf: bool) -> None:
    """A device whose job is queued is said to be deaf if it has subscribed to no event."""
    client = CLIENT | {"subscriptions": [name]}
    explained = Activity(SEEN | {"clients": [client]}).explain("J", status)
    assert ("subscribed to neither notify nor notify-next" in explained) is deaf
