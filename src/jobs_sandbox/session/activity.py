"""What the embedded AWS IoT has seen of the device under test: counts, refusals, and its story."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any

from jobs_sandbox.core.jobs import OPERATIONS
from jobs_sandbox.core.protocols import End, Switch
from jobs_sandbox.core.settings import is_new_client_id

_ASKING = ("get", "start-next", "describe")
# What the entries of the log have in common that a fact counts; other facts are operations.
_FACTS = {
    "connects": {"what": "connect"},
    "subscribes": {"what": "subscribe"},
    "requests": {"what": "request"},
    "reports": {"what": "request", "operation": "update"},
    "rejected": {"what": "response", "outcome": "rejected"},
    "refused": {"what": "refused"},
    "ends": {"what": "end"},
}
_LINES = {
    "connect": "connects (MQTT {mqtt}, keep-alive {keep_alive} s)",
    "connack": "gets CONNACK {code} (old session: {session_present})",
    "disconnect": "is disconnected: {reason}; without PUBACK: {unacknowledged}",
    "subscribe": "subscribes to {filter} (QoS {code})",
    "refused subscription": "is refused a subscription to {filter}: {code}",
    "request": "asks: {operation} {job_id} {status}",
    "response": "is answered: {operation} {job_id} {outcome} {code} {message}",
    "event": "gets an event: {name}",
    "refused": "is refused by its policy: {action} on {resource}",
    "fault": "meets a fault: {kind} {detail}",
    "handshake": "does not get through the TLS handshake: {failure}",
    "start": "is started",
    "stop": "is stopped, as by a power cut",
    "end": "has ended: {how}",
}
# Outcomes that a device reports.
_OUTCOMES = ("SUCCEEDED", "FAILED", "REJECTED")
# A device that asks for an execution gets to know by these that it has ended.
_GONE = ("TerminalStateReached", "ResourceNotFound")
_MQTT_VERSIONS = {4: "3.1.1"}
_FIRST_REFUSAL = 128  # of the codes in a SUBACK
_SHOWN = 20  # of the pauses and of the refusals in a block
_PAUSES = 5  # in a sentence
_FIRST_LINES, _LAST_LINES = 15, 25  # of a story

Entry = dict[str, Any]


def without_prompts(seen: dict[str, Any]) -> dict[str, Any]:
    """What the service has seen of the device, without prompts that joined with its certificate.

    A prompt that has started or updated a job counts as a device.
    """
    at_work = {
        entry["client_id"]
        for entry in seen["log"]
        if entry["what"] == "request" and entry["operation"] in {"start-next", "update"}
    }

    def counts(one: dict[str, Any]) -> bool:
        client_id = one["client_id"]
        return client_id in at_work or not is_new_client_id(client_id)

    return seen | {
        "clients": [client for client in seen["clients"] if counts(client)],
        "log": [entry for entry in seen["log"] if counts(entry)],
    }


def rejections(log: Iterable[Mapping[str, Any]], job_id: str = "") -> list[Mapping[str, Any]]:
    """The last response to each kind of request, where it is a rejection; the latest is last.

    Args:
        log: of the device, in order of time.
        job_id: leaves out the requests that concern other jobs; not an update of a job that does
            not exist, which may be meant for this one.

    """
    last: dict[str, Mapping[str, Any]] = {}
    for entry in log:
        if entry["what"] != "response":
            continue
        is_lost = entry["operation"] == "update" and entry.get("code") == "ResourceNotFound"
        if not job_id or is_lost or entry.get("job_id") in {None, "$next", job_id}:
            last.pop(entry["operation"], None)
            last[entry["operation"]] = entry
    return [entry for entry in last.values() if entry["outcome"] == "rejected"]


class Activity:
    """What the device has done since a point in time.

    Args:
        seen: what `core.protocols.Service.activity` returns.
        ends: when and how the device has ended by itself.
        since: in seconds since 1970; what happened earlier is not counted.
        switches: when the device was started and stopped.

    """

    def __init__(
        self,
        seen: dict[str, Any],
        ends: Sequence[End] = (),
        since: float = 0,
        switches: Sequence[Switch] = (),
    ) -> None:
        self._clients: list[dict[str, Any]] = seen["clients"]
        self._wildcards: list[str] = seen["wildcards"]
        log = [*seen["log"], *({"what": "end"} | end._asdict() for end in ends)]
        log += [switch._asdict() for switch in switches]
        log.sort(key=lambda entry: float(entry["time"]))
        self._log: list[Entry] = [entry for entry in log if entry["time"] >= since]
        self._since = since
        # Causes are looked for in what the device did since it was started last.
        started = max((switch.time for switch in switches if switch.what == "start"), default=0)
        self._current: list[Entry] = [entry for entry in log if entry["time"] >= started]

    def count(self, fact: str) -> int:
        """How often a fact, one of `FACTS`, has happened.

        ``unacknowledged`` and ``wildcards`` count what there is now.
        """
        if fact == "wildcards":
            return len(self._wildcards)
        if fact == "unacknowledged":
            return sum(client["unacknowledged"] for client in self._clients)
        return len(self._entries(fact))

    def pauses(self, fact: str) -> list[float]:
        """The seconds between those of a fact."""
        times = [entry["time"] for entry in self._entries(fact)]
        return [round(later - earlier, 2) for earlier, later in pairwise(times)]

    @property
    def is_connected(self) -> bool:
        """Whether the device is connected now."""
        return any(client["connected"] for client in self._clients)

    @property
    def is_at_work(self) -> bool:
        """Whether the device has subscribed to something, or has asked for something."""
        return bool(self._entries("subscribes") or self._entries("requests"))

    @property
    def failed_handshake(self) -> str:
        """Why the last TLS handshake failed, or ``""``."""
        failures = [entry["failure"] for entry in self._current if entry["what"] == "handshake"]
        return str(failures[-1]) if failures else ""

    @property
    def refusals(self) -> list[str]:
        """What the policy of the device did not allow, each once, the last one last."""
        refused = self._entries("refused")
        found = (f"{entry['action']} on {entry['resource']}" for entry in refused)
        return list(dict.fromkeys(found))

    def body(self) -> dict[str, Any]:
        """The body of a DeviceActivity block."""
        filters = {name for client in self._clients for name in client["subscriptions"]}
        rejected = Counter(str(entry.get("code")) for entry in self._entries("rejected"))
        body: dict[str, Any] = {
            name: self.count(name) for name in ("connects", "ends", "subscribes", "unacknowledged")
        }
        body |= {
            "clientIds": [client["client_id"] for client in self._clients],
            "connected": self.is_connected,
            "pausesBetweenConnects": self.pauses("connects")[-_SHOWN:],
            "refused": self.refusals[-_SHOWN:],
            "rejected": dict(rejected),
            "requests": {operation: self.count(operation) for operation in OPERATIONS},
            "subscriptions": sorted(filters),
        }
        if self._wildcards:
            body["wildcards"] = self._wildcards
        if self._since:
            body["since"] = round(self._since)
        return body

    def obstacles(self, job_id: str = "") -> list[str]:
        """What the device was refused: by its policy, and by the last answer to each request."""
        facts = []
        if refused := self.refusals:
            facts.append(f"the policy of the device does not allow {refused[-1]}")
        for answer in rejections(self._current, job_id):
            operation = answer["operation"]
            if operation != "update" and answer.get("code") in _GONE:
                continue
            answers = [
                entry
                for entry in self._current
                if entry["what"] == "response" and entry["operation"] == operation
            ]
            times = len(list(takewhile(_is_rejection, reversed(answers))))
            last = f"the last {operation} of the device was"
            if times > 1:
                last = f"the last {times} {operation} requests of the device were"
            facts.append(f"{last} rejected: {answer.get('code')}: {answer.get('message')}")
        return facts

    def explain(self, job_id: str, status: str) -> str:
        """Why the execution of a job is still pending, as far as the service knows.

        Args:
            job_id: the job.
            status: QUEUED or IN_PROGRESS.

        """
        if not self._clients:
            return "no device has connected"
        facts = [*self.obstacles(job_id), *self._absence()]
        if self.is_connected and status == "QUEUED" and not self._is_notified:
            facts.append("the device is subscribed to neither notify nor notify-next")
        if lost := self._lost_response():
            facts.append(lost)
        elif status == "QUEUED":
            facts.append(self._last_question())
        else:
            requests = [one for one in self._current if _is(one, "update")]
            facts.append(_last_update([one for one in requests if one.get("job_id") == job_id]))
        return "; ".join(facts)

    def circumstances(self, fact: str) -> str:
        """What may explain the number of a fact."""
        if fact == "wildcards":
            return f"the policy of the device has {', '.join(self._wildcards)}"
        facts = [*self.obstacles(), *self._absence()]
        if lost := self._lost_response():
            facts.append(lost)
        if fact == "reports":
            return "; ".join([*facts, *self._reports()])
        if fact == "connects" and (accepted := self._accepted_certificate()):
            return accepted
        if pauses := self.pauses(fact)[-_PAUSES:]:
            facts.append(f"the last pauses between them: {', '.join(map(str, pauses))} s")
        return "; ".join(facts)

    def story(self) -> list[str]:
        """What happened, a line each with the seconds since the first, in order of time."""
        lines = [
            f"{entry['time'] - self._log[0]['time']:6.1f} s  {_describe(entry)}"
            for entry in self._log
        ]
        left_out = len(lines) - _FIRST_LINES - _LAST_LINES
        if left_out > 0:
            lines[_FIRST_LINES:-_LAST_LINES] = [f"          … {left_out} more"]
        return lines

    def _absence(self) -> list[str]:
        """Why the device does nothing, if it is not there."""
        facts = [] if self.is_connected else ["the device is not connected"]
        if ends := [entry for entry in self._current if entry["what"] == "end"]:
            facts.append(f"the device has ended: {ends[-1]['how']}")
        return facts

    def _lost_response(self) -> str:
        """That the device has sent nothing since a response to it was lost, or ``""``."""
        for entry in reversed(self._current):
            if entry["what"] == "request":
                break
            if entry["what"] == "fault" and entry["kind"] == "lose":
                return (
                    f"the response to its last {entry['detail']} was lost {_ago(entry)}, and the "
                    "device has sent no request since"
                )
        return ""

    def _last_question(self) -> str:
        """When the device asked for executions last, and what it has not asked about."""
        asked = [entry for entry in self._current if entry.get("operation") in _ASKING]
        events = [entry for entry in self._current if entry["what"] == "event"]
        asked = [entry for entry in asked if entry["what"] == "request"]
        if not asked:
            return "the device has not asked for executions since it was started"
        missed = [event for event in events if event["time"] > asked[-1]["time"]]
        if missed:
            names = ", ".join(dict.fromkeys(event["name"] for event in missed))
            return (
                f"the device has not asked for executions since it got {names}, {_ago(missed[0])}"
            )
        return (
            f"the device got no event since it asked for executions {_ago(asked[-1])} "
            f"({asked[-1]['operation']}), and has not asked again"
        )

    def _reports(self) -> list[str]:
        """What the device reported, and how soon after its request for work."""
        reports = self._entries("reports")
        counts = Counter((entry.get("job_id"), entry["status"]) for entry in reports)
        facts = [
            f"the device reported {status} for {job_id}" + (f" {times} times" if times > 1 else "")
            for (job_id, status), times in counts.items()
        ]
        asked = [entry["time"] for entry in self._current if entry.get("operation") in _ASKING]
        if len(facts) == 1 and (before := [one for one in asked if one <= reports[-1]["time"]]):
            after = reports[-1]["time"] - before[-1]
            facts.append(f"the last time {after:.1f} s after it had asked for executions")
        return facts

    def _accepted_certificate(self) -> str:
        """Which wrong certificate of the server the device has accepted, or ``""``."""
        shown = [entry for entry in self._current if entry.get("kind") == "certificate"]
        wrong = shown[-1]["detail"] if shown else "right"
        if wrong == "right" or not self._entries("connects"):
            return ""
        return f"the device accepted a server certificate that is wrong: {wrong}"

    @property
    def _is_notified(self) -> bool:
        """Whether the device is subscribed to events of Jobs, perhaps by a wildcard."""
        filters = [name for client in self._clients for name in client["subscriptions"]]
        return any("/jobs/notify" in name or name.endswith(("#", "+")) for name in filters)

    def _entries(self, fact: str) -> list[Entry]:
        return [entry for entry in self._log if _is(entry, fact)]


def _is(entry: Entry, fact: str) -> bool:
    """Whether an entry of the log is one of those that a fact counts."""
    pattern = _FACTS.get(fact, {"what": "request", "operation": fact})
    if not pattern.items() <= entry.items():
        return False
    if fact == "reports":
        return entry.get("status") in _OUTCOMES
    return fact != "subscribes" or bool(entry["code"] < _FIRST_REFUSAL)


def _is_rejection(answer: Entry) -> bool:
    return bool(answer["outcome"] == "rejected")


def _ago(entry: Entry) -> str:
    return f"{time.time() - entry['time']:.1f} s ago"


def _last_update(updates: list[Entry]) -> str:
    if not updates:
        return "the device has sent no update of it since it was started"
    return f"the last update of the device said {updates[-1].get('status')}, {_ago(updates[-1])}"


def _describe(entry: Entry) -> str:
    """An entry of the log in words."""
    what = entry["what"]
    if what == "connect":
        entry = entry | {"mqtt": _MQTT_VERSIONS.get(entry["mqtt"], entry["mqtt"])}
    if what == "fault" and entry["kind"] == "certificate":
        return f"is shown this server certificate from now on: {entry['detail']}"
    if what == "subscribe" and entry["code"] >= _FIRST_REFUSAL:
        what = "refused subscription"
    text = _LINES[what].format_map(defaultdict(str, entry))
    return " ".join(text.split())
