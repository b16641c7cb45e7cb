"""A check: what is run, what ends it, and what is reported."""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from jobs_sandbox.check import report, runner
from jobs_sandbox.cli import parse
from jobs_sandbox.core.blocks import JOB_EXECUTION, Block
from jobs_sandbox.core.errors import StartError
from jobs_sandbox.core.protocols import End, Switch
from jobs_sandbox.session import watched
from jobs_sandbox.session.session import Session
from jobs_sandbox.signals import Signals
from jobs_sandbox.ui.console import Console
from tests.unit.fakes import FakeRun, FakeService, Screen, until

CLIENT = {"client_id": "C", "connected": True, "subscriptions": [], "unacknowledged": 0}
AT_WORK = {"time": 1.0, "client_id": "x", "what": "request", "operation": "get"}
REFUSED = {
    "time": 1.0,
    "client_id": "foo",
    "what": "refused",
    "action": "iot:Connect",
    "resource": "client/foo",
}


def untrusted(failure: str) -> dict[str, Any]:
    """The entry of a TLS handshake that failed."""
    return {"time": 1.0, "client_id": "", "what": "handshake", "failure": failure}


class FakeDevice:
    """A device under test that a test lets end."""

    absence = ""

    def __init__(self) -> None:
        self.has_ended = False
        self.ends: list[End] = []
        self.switches: list[Switch] = []

    def end(self) -> None:
        self.ends.append(End(time.time(), "exit status 3"))
        self.has_ended = True

    async def start(self) -> None:
        self.has_ended = False

    async def stop(self) -> None:
        pass


class Bench:
    """Checks with fake sessions.

    Attributes:
        sessions: each that was started.
        open: how many have not ended.
        on_start: called with each new session, before it is used.
        clients, log: what the service has seen of the device.
        status: of the job that scenarios expect; each session may have another one.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder = folder
        self.sessions: list[FakeRun] = []
        self.devices: list[FakeDevice] = []
        self.open = 0
        self.most = 0
        self.on_start: Callable[[], object] = lambda: None
        self.clients: list[dict[str, Any]] = [CLIENT]
        self.log: list[dict[str, Any]] = [AT_WORK]
        self.status: Callable[[], str] = lambda: "SUCCEEDED"
        monkeypatch.setattr("jobs_sandbox.app.start_session", self._start)
        monkeypatch.setattr(watched, "LOOK_AGAIN", 0.001)
        monkeypatch.setattr(watched, "_GRACE", 0.01)
        monkeypatch.setattr("sys.argv", ["/x/jobs-sandbox"])

    async def _start(
        self, _: argparse.Namespace, console: Console, __: Signals, stack: AsyncExitStack
    ) -> Session:
        device, service = FakeDevice(), FakeService()
        service.clients, service.log = self.clients, self.log
        run = FakeRun(console, timeout=0.1, device=device, service=service)
        status = self.status()
        run.control.work = lambda: Block(JOB_EXECUTION, {"jobId": "J", "status": status})
        self.sessions.append(run)
        self.devices.append(device)
        self.open += 1
        self.most = max(self.most, self.open)
        stack.callback(self._close)
        console.device(f"device {len(self.sessions)}")
        self.on_start()
        return run.session

    def _close(self) -> None:
        self.open -= 1

    def write(self, *scripts: str) -> list[str]:
        """Write scenarios, one a script; their paths."""
        paths = [self.folder / f"s{number}.jobs" for number in range(len(scripts))]
        for path, script in zip(paths, scripts, strict=True):
            path.write_text(f"# Do it.\n#\n# Because.\n\n{script}\n")
        return [str(path) for path in paths]

    async def check(self, screen: Screen, *words: str) -> int:
        """Run a check; its exit status."""
        options = parse(["--check", "./device", *words])
        task = asyncio.current_task()
        return await runner._check(options, screen.console, Signals(cast("Any", task)))


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """Checks with fake sessions, and the default handling of signals."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield Bench(monkeypatch, tmp_path)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
async def screen() -> AsyncIterator[Screen]:
    """Where results are shown."""
    screen = Screen()
    yield screen
    await screen.console.close()


async def test_passed(bench: Bench, screen: Screen) -> None:
    """Each scenario has a session of its own after the first questions; some run side by side."""
    paths = bench.write("expect J SUCCEEDED", *(["wait 0.05"] * runner.AT_A_TIME))
    assert await bench.check(screen, *paths) == 0
    assert (len(bench.sessions), bench.open) == (len(paths) + 1, 0)
    assert bench.most == runner.AT_A_TIME
    lines = (await screen.stdout()).splitlines()
    assert sorted(line.split()[:2] for line in lines[:-1]) == [
        ["passed", Path(path).stem] for path in paths
    ]
    assert lines[-1].startswith(f"{len(paths)} passed, 0 failed in ")


async def test_failed(bench: Bench, screen: Screen) -> None:
    """A failure ends its scenario; what a developer needs is shown."""
    [path] = bench.write("expect J FAILED\nwait 600")
    answer = {"what": "response", "operation": "update", "outcome": "accepted"}
    bench.log.append(AT_WORK | {"time": 2.5} | answer)
    assert await bench.check(screen, path, "--log", str(bench.folder / "logs")) == 1
    text = await screen.stdout()
    for shown in (
        "FAILED   s0  ",
        "    Do it.\n    Because.\n",
        "    line 5: the execution of J ended as SUCCEEDED, not FAILED\n      expect J FAILED\n",
        "    likely cause: the device reported SUCCEEDED (statusDetails: none)",
        "       1.5 s  is answered: update accepted\n",
        "      device 2\n",
        "0 passed, 1 failed in ",
        f"  /x/jobs-sandbox --local --device ./device < {path}\n",
    ):
        assert shown in text
    log = (bench.folder / "logs" / "s0.log").read_text()
    assert log.startswith("device: device 2\n> expect J FAILED\n")
    assert "line 5: the execution of J ended as SUCCEEDED, not FAILED\n" in log


async def test_warning(bench: Bench, screen: Screen) -> None:
    """A line after ``should`` that fails is a warning, and the scenario goes on."""
    [path] = bench.write("should expect J FAILED\nexpect J SUCCEEDED")
    assert await bench.check(screen, path) == 0
    text = await screen.stdout()
    assert text.startswith("warning  s0  ")
    assert "line 5: warning: the execution of J ended as SUCCEEDED, not FAILED" in text
    assert "What the device did" not in text
    assert "1 passed, 1 of them with a warning, 0 failed in " in text


@pytest.mark.parametrize("word", ["", "should "])
@pytest.mark.parametrize(("bad", "status"), [({2}, 0), ({2, 4}, 1)])
async def test_in_each_others_way(
    bench: Bench, screen: Screen, bad: set[int], status: int, word: str
) -> None:
    """What has a problem beside another scenario runs again, alone, and then it counts."""

    def outcome() -> str:
        return "FAILED" if len(bench.sessions) + 1 in bad else "SUCCEEDED"

    bench.status = outcome
    paths = bench.write(*[f"{word}expect J SUCCEEDED"] * 2)
    assert await bench.check(screen, *paths) == (0 if word else status)
    assert len(bench.sessions) == 4
    assert ("(alone; it had a problem beside another one)" in await screen.stdout()) is not bool(
        status
    )


# A device that ends


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("wait 600", 1),
        ("wait 0.05\nstop-device\nstart-device", 1),
        ("wait 0.05\nstart-device\nwait 0", 0),
        ("expect J SUCCEEDED", 0),
    ],
)
async def test_a_device_that_ends(bench: Bench, screen: Screen, script: str, status: int) -> None:
    """When it has ended by itself, and the script does not start it, the scenario is over."""

    def end_in_scenario() -> None:
        if len(bench.devices) == 2:
            asyncio.get_running_loop().call_later(0.01, bench.devices[1].end)

    bench.on_start = end_in_scenario
    [path] = bench.write(script)
    async with asyncio.timeout(10):
        assert await bench.check(screen, path) == status
    text = await screen.stdout()
    assert ("the device has ended by itself: exit status 3" in text) is bool(status)
    assert ("has ended: exit status 3\n" in text) is bool(status)


# The cheap questions


@pytest.mark.parametrize(
    ("clients", "log", "ends", "message", "cause"),
    [
        ([], [], True, "the device has ended by itself: exit status 3", ""),
        ([], [], False, "the device does not connect within 0.1 s", "another host or port"),
        ([], [untrusted("TLSV1_ALERT_UNKNOWN_CA")], False, "the device does not", "trust IOT_CA"),
        ([], [untrusted("closed by the device")], False, "the device does not", "trust IOT_CA"),
        ([], [untrusted("PEER_DID_NOT_RETURN_A_CERTIFICATE")], False, "the", "IOT_CERT and"),
        ([], [untrusted("WRONG_VERSION_NUMBER")], False, "the device does not", "not speak TLS"),
        ([], [untrusted("OTHER")], False, "the device does not connect", "failed: OTHER"),
        (
            [CLIENT | {"connected": False}],
            [REFUSED | {"what": "connect", "mqtt": 5}, REFUSED],
            False,
            "the device is not connected after 0.1 s",
            "the policy of the device does not allow iot:Connect on client/foo",
        ),
        ([CLIENT], [], False, "the device neither subscribes nor asks for jobs", ""),
    ],
)
async def test_the_first_questions(
    bench: Bench,
    screen: Screen,
    clients: list[dict[str, Any]],
    log: list[dict[str, Any]],
    *,
    ends: bool,
    message: str,
    cause: str,
) -> None:
    """A device that does not come to work is reported once, and no scenario is run."""
    bench.clients, bench.log = clients, log
    if ends:
        bench.on_start = lambda: bench.devices[0].end()
    report = bench.folder / "report.xml"
    assert await bench.check(screen, "order-of-three", "--junit", str(report)) == 1
    assert len(bench.sessions) == 1
    error = await screen.stderr()
    assert error.startswith(message)
    assert cause in error
    assert "      device 1\n" in await screen.stdout()
    suite = ET.parse(report).getroot()  # noqa: S314 - our own
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == ("1", "0", "1")
    assert message in report.read_text()
    assert "device 1" in report.read_text()


async def test_a_device_that_cannot_be_started(bench: Bench, screen: Screen) -> None:
    """A command that does not exist is reported in the words of `--device`."""

    def fail() -> None:
        raise StartError("the device cannot be started: x")

    bench.on_start = fail
    assert await bench.check(screen, "order-of-three") == 1
    assert await screen.stderr() == "the device cannot be started: x\n"
    assert await screen.stdout() == ""


async def test_a_service_that_does_not_start(bench: Bench, screen: Screen) -> None:
    """A scenario that cannot begin has failed, with the reason."""

    def fail_later() -> None:
        if len(bench.sessions) > 1:
            raise StartError("the local AWS IoT did not start")

    bench.on_start = fail_later
    assert await bench.check(screen, *bench.write("wait 0")) == 1
    assert "the local AWS IoT did not start" in await screen.stdout()


# Reports


async def test_json(bench: Bench) -> None:
    """With --output json there is one object a scenario, and a summary."""
    screen = Screen("json")
    [path] = bench.write("should expect J FAILED 1\nexpect J FAILED 1")
    assert await bench.check(screen, path, "--output", "json") == 1
    shown, summary = map(json.loads, (await screen.stdout()).splitlines())
    assert shown["type"] == "Scenario"
    body = shown["body"]
    assert (body["name"], body["group"], body["outcome"]) == ("s0", "jobs", "failed")
    assert [problem["line"] for problem in body["problems"]] == [5, 6]
    assert body["activity"] == ["   0.0 s  asks: get"]
    assert body["output"] == ["device 2"]
    assert summary["type"] == "Summary"
    del summary["body"]["seconds"]
    assert summary["body"] == {"passed": 0, "warnings": 0, "failed": 1, "notFinished": []}
    await screen.console.close()


async def test_json_of_a_failed_start(bench: Bench) -> None:
    """If no scenario could be run, the summary says why, with what the device did and printed."""
    screen = Screen("json")
    bench.clients, bench.log = [], [untrusted("OTHER")]
    assert await bench.check(screen, "order-of-three", "--output", "json") == 1
    [line] = (await screen.stdout()).splitlines()
    body = json.loads(line)["body"]
    assert body["notFinished"] == ["order-of-three"]
    assert body["message"] == "the device does not connect within 0.1 s"
    assert body["activity"] == ["   0.0 s  does not get through the TLS handshake: OTHER"]
    assert body["output"] == ["device 1"]
    await screen.console.close()


@pytest.mark.parametrize(
    ("program", "found", "line"),
    [
        ("/bin/jobs-sandbox", "/bin/jobs-sandbox", "jobs-sandbox --local --device './d -x'"),
        ("/venv/bin/jobs-sandbox", None, "/venv/bin/jobs-sandbox --local --device './d -x'"),
        ("/x/__main__.py", None, f"{sys.executable} -m jobs_sandbox --local --device './d -x'"),
    ],
)
def test_by_hand(
    monkeypatch: pytest.MonkeyPatch, program: str, found: str | None, line: str
) -> None:
    """The command for a run by hand works as it is, in the shell that started this program."""
    monkeypatch.setattr("sys.argv", [program])
    monkeypatch.setattr("shutil.which", lambda _: found)
    assert report.by_hand(["./d", "-x"], None) == line
    assert report.by_hand(["./d", "-x"], "my policy") == f"{line} --policy 'my policy'"


async def test_security_scenarios(bench: Bench, screen: Screen) -> None:
    """Where only they failed, nothing is said about job documents."""
    (bench.folder / "mine.jobs").write_text("# Do it.\n# group: security\n\nexpect J FAILED\n")
    assert await bench.check(screen, f"{bench.folder}/mine.jobs") == 1
    assert "job documents" not in await screen.stdout()


async def test_junit(bench: Bench, screen: Screen) -> None:
    """The report has a test case for each scenario, with what a failure shows."""
    scripts = ("wait 0", "should expect J FAILED", "stop-device\nexpect J FAILED")
    report = bench.folder / "report.xml"
    paths = bench.write(*scripts)
    (bench.folder / "s2.jobs").write_text('# <Do> & "it"\x1b\n\nexpect J FAILED\n')
    assert await bench.check(screen, *paths, "--junit", str(report)) == 1
    suite = ET.parse(report).getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    cases = {case.get("name"): case for case in suite}
    assert [len(cases[name]) for name in ("s0", "s1", "s2")] == [0, 1, 1]
    [failure] = cases["s2"]
    assert failure.get("message") == "the execution of J ended as SUCCEEDED, not FAILED"
    assert '<Do> & "it"\\u001b' in (failure.text or "")


async def test_list(bench: Bench, screen: Screen) -> None:
    """--list has a line a scenario, its name first; nothing is started."""
    options = parse(["--check", "--list"])
    assert await runner._check(options, screen.console, cast("Any", None)) == 0
    lines = (await screen.stdout()).splitlines()
    [line] = [line for line in lines if line.startswith("order-of-three ")]
    assert len(line.split(maxsplit=1)[1]) > 10
    assert bench.sessions == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nonsense"], "there is no scenario 'nonsense'"),
        (["--junit", "/nowhere/x"], "/nowhere/x cannot be written: No such file or directory."),
        (["--log", "/dev/null/x"], "/dev/null/x cannot be written: Not a directory."),
        (["--policy", "/no/p"], "the device policy '/no/p' cannot be read: No such file"),
        (["--policy", "/dev/null"], "the device policy cannot be used: it is not JSON"),
    ],
)
async def test_bad_input(bench: Bench, screen: Screen, words: list[str], message: str) -> None:
    """A mistake is wrong usage, and found before anything starts."""
    assert await bench.check(screen, *words) == 2
    assert (await screen.stderr()).startswith(message)
    assert bench.sessions == []


async def test_interrupted(bench: Bench, screen: Screen) -> None:
    """A check that is cut short shows and writes what is known, and leaves nothing running."""
    report = bench.folder / "report.xml"
    paths = bench.write("expect J FAILED", "wait 0.2", "wait 600", "wait 600")
    task = asyncio.create_task(bench.check(screen, *paths, "--junit", str(report)))
    await until(lambda: "passed   s1" in screen.out.getvalue())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    text = await screen.stdout()
    assert "FAILED   s0" in text
    assert "1 passed, 1 failed, 2 not finished in " in text
    assert bench.open == 0
    suite = ET.parse(report).getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "1", "2")
