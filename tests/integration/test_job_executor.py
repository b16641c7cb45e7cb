"""The reference device of examples/: its parts, then with the real service and a scripted one."""

import asyncio
import json
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import mqtt5
import psutil
import pytest

import job_executor
from job_executor import Execution, Handler, Outcome, StateFile
from tests.support.aws.account import Account
from tests.support.drivers.executor import Bench, Executor, JobsService, Thing, alive
from tests.support.servers.broker import Broker
from tests.support.servers.proxy import Proxy
from tests.support.waiting import until

JOB = Execution("Job1", 1, 1_700_000_000.0)
# Handlers that work until they are ended, or until the test has made the file `go`.
ENDLESS = "echo $$ > began; while :; do sleep 0.05; done"
PATIENT = "echo $$ > began; while [ ! -e go ]; do sleep 0.02; done"


@pytest.fixture
def thing(account: Account, tmp_path: Path) -> Thing:
    return Thing(account, tmp_path)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[JobsService]:
    with Broker(tmp_path) as broker:
        yield JobsService(broker, tmp_path)


def wait_for_success(execution: dict[str, Any]) -> None:
    until(lambda: execution["status"] == "SUCCEEDED")


# The handler


def handler(*lines: str, minutes: float | None = None) -> Handler:
    return Handler(["/bin/sh", "-c", "\n".join(lines)], JOB, minutes, resumed=True)


async def run(*lines: str, minutes: float | None = None, document: object = None) -> Outcome:
    outcome = await handler(*lines, minutes=minutes).run(document)
    assert outcome
    return outcome


async def test_what_a_handler_gets_and_gives(tmp_path: Path) -> None:
    """It gets the document and a short environment; its newest progress becomes the details."""
    document = {"text": "Grüße, 🙂", "large": "x" * 32_000}
    outcome = await run(
        f"cd {tmp_path}; cat > document; env > environment",
        "echo '{\"step\": 1}'; echo '[2]'; printf '{\"step\": \"3\"}'",
        document=document,
    )
    assert outcome == Outcome("SUCCEEDED", {"step": "3"})
    assert json.loads((tmp_path / "document").read_text()) == document
    environment = (tmp_path / "environment").read_text().splitlines()
    assert {"JOB_ID=Job1", "JOB_EXECUTION_NUMBER=1", "JOB_RESUMED=1"} <= set(environment)
    inherited = {line.partition("=")[0] for line in environment if not line.startswith("JOB_")}
    assert "PATH" in inherited
    assert inherited <= {*job_executor.HANDLER_ENVIRONMENT, "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize(
    ("end", "status", "exit_status"),
    [
        ("exit 65", "REJECTED", "65"),
        ("exit 3", "FAILED", "3"),
        ("kill -9 $$", "FAILED", "signal 9"),
    ],
)
async def test_failures(end: str, status: str, exit_status: str) -> None:
    """The exit status decides; the reason stands in the statusDetails."""
    details = {"exitStatus": exit_status, "stderr": "bad", "step": "1"}
    assert await run(r"""printf '{"step": 0}\n{"step": 1}\n'; echo bad >&2""", end) == Outcome(
        status, details
    )


async def test_a_handler_that_cannot_be_started() -> None:
    """The execution fails, and the statusDetails say why."""
    outcome = await Handler(["/missing"], JOB, None, resumed=False).run({})
    assert outcome
    assert outcome.status == "FAILED"
    assert "/missing" in outcome.details["reason"]


def test_status_details_are_cut_to_what_aws_accepts() -> None:
    """Ten pairs, plain names, values of 1 to 1,024 characters without control characters."""
    given = {"a b": "name", "n" * 129: "name", "blank": "\n", "bell": "a\u0007b", "l": "x" * 2000}
    cut = {"bell": "a b", "l": "x" * 1024} | {str(number): str(number) for number in range(8)}
    assert job_executor.status_details(given | {str(number): number for number in range(12)}) == cut


async def test_a_flood_of_output() -> None:
    """However much a handler prints, its last output counts, and the memory does not grow."""
    before = psutil.Process().memory_info().rss
    outcome = await run(
        "head -c 60000000 /dev/zero; yes '[' | head -c 3000000; echo; echo '{\"step\": \"last\"}'",
        "head -c 60000000 /dev/zero >&2; echo the end >&2; exit 1",
    )
    assert outcome.details["step"] == "last"
    assert outcome.details["stderr"].endswith("the end")
    assert psutil.Process().memory_info().rss < before + 50e6


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM"])
async def test_a_handler_that_hangs(monkeypatch: pytest.MonkeyPatch, stubborn: str) -> None:
    """Without progress it is ended, with all that it has started, and the execution fails."""
    monkeypatch.setattr(job_executor, "GRACE", 0.2)
    progress = 'sleep 60 & printf \'{"self": %s, "child": %s}\\n\' $$ $!'
    details = (await run(stubborn, progress, "sleep 60", minutes=0.005)).details
    assert details["reason"] == "no progress for 0.005 minutes"
    until(lambda: not alive(details["self"]) and not alive(details["child"]))


async def test_progress_renews_the_step_timeout() -> None:
    """A handler that makes progress in time may take as long as it likes."""
    steps = "for step in 1 2 3 4 5 6 7; do echo '{}'; sleep 0.3; done"
    assert (await run(steps, minutes=0.03)).status == "SUCCEEDED"


@pytest.mark.parametrize("started", [True, False])
async def test_a_handler_is_stopped(tmp_path: Path, *, started: bool) -> None:
    """It is ended by SIGTERM and has no outcome, also if it is just starting."""
    before = psutil.Process().children()
    stopped = handler(f"cd {tmp_path}", f"trap 'touch ended; exit 0' TERM; {ENDLESS}")
    work = asyncio.create_task(stopped.run({}))
    await (asyncio.to_thread(until, (tmp_path / "began").exists) if started else asyncio.sleep(0))
    stopped.stop()
    assert await work is None
    assert (tmp_path / "ended").exists() or not started
    assert psutil.Process().children() == before


async def test_a_handler_that_leaves_a_process_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is neither waited for, though it holds the output open, nor ended."""
    monkeypatch.setattr(job_executor, "LAST_OUTPUT", 0.1)
    outcome = await asyncio.wait_for(run("sleep 60 & echo '{\"left\": '$!'}'"), 30)
    assert alive(outcome.details["left"])
    psutil.Process(int(outcome.details["left"])).kill()


async def test_a_handler_that_gets_sigterm_before_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was cut off, and has not failed: systemd sends SIGTERM to all processes at once."""
    monkeypatch.setattr(job_executor, "LAST_OUTPUT", 30)
    file = tmp_path / "pid"
    killed = handler(f"echo $$ > {file}; kill -TERM $$")
    work = asyncio.create_task(killed.run({}))
    pid = await asyncio.to_thread(until, lambda: file.exists() and file.read_text())
    await asyncio.to_thread(until, lambda: not alive(pid))
    killed.stop()
    assert await work is None


# The state file, and the command line


def test_the_state_file(tmp_path: Path) -> None:
    """It keeps execution and outcome, for its owner alone, and is not written through a link."""
    path, victim = tmp_path / "state", tmp_path / "victim"
    (tmp_path / "state.new").symlink_to(victim)
    state = StateFile(str(path))
    for outcome in (None, Outcome("SUCCEEDED", {"step": "2"})):
        state.save(JOB, outcome)
        assert state.load() == (JOB, outcome)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not victim.exists()
    state.clear()
    assert state.load() == (None, None)


@pytest.mark.parametrize(
    "content",
    ['{"job_id": "Jo', "null", "[" * 100_000, '{"job_id": 5, "number": 1, "queued_at": 1.0}'],
)
def test_a_damaged_state_file(tmp_path: Path, content: str) -> None:
    """It counts as empty."""
    (tmp_path / "state").write_text(content)
    assert StateFile(str(tmp_path / "state")).load() == (None, None)


def test_a_state_file_that_cannot_be_written(caplog: pytest.LogCaptureFixture) -> None:
    """The device goes on, and says what that may cost."""
    StateFile("/missing/state").save(JOB)
    assert "a handler may run again after a power cut" in caplog.text


def test_pauses_grow() -> None:
    """They double up to the longest one, with a random part."""
    first, second, third, fourth = islice(job_executor.pauses(1, 3), 4)
    assert 1 <= first <= 1.5
    assert 2 <= second <= 3
    assert 3 <= third <= 4.5
    assert third != fourth


ARGUMENTS = ["job_executor.py", "--run=a 'b c'", "endpoint", "cert.pem", "key.pem", "thing"]


def test_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes before the environment; the client id is by default the name of the thing."""
    monkeypatch.setenv("IOT_ENDPOINT", "another")
    monkeypatch.setattr(sys, "argv", ARGUMENTS)
    options = job_executor.parse_arguments()
    assert options.run == ["a", "b c"]
    assert [options.endpoint, options.certificate, options.key, options.thing] == ARGUMENTS[2:]
    assert options.client_id == "thing"


@pytest.mark.parametrize(
    "wrong", ["--step-timeout=0", "--step-timeout=20000", "--step-timeout=nan", "--run="]
)
def test_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    """It is named, with status 2."""
    monkeypatch.setattr(sys, "argv", [*ARGUMENTS, wrong])
    with pytest.raises(SystemExit, match="2"):
        job_executor.parse_arguments()
    assert f"argument {wrong.partition('=')[0]}: " in capsys.readouterr().err


def test_a_device_that_cannot_start(service: JobsService) -> None:
    """Files that cannot be used are named; a state file is for one device alone."""
    with Executor(Bench(service.folder, service.iot | {"IOT_KEY": "/missing"})) as executor:
        assert executor.process.wait(20) == 1
        assert "/missing" in executor.log
    with service.device(), service.device() as second:
        second.wait_for("another job executor uses")
        assert "Traceback" not in second.log


# With the real service


def test_jobs_are_done_in_order(thing: Thing) -> None:
    """Jobs from before and after the start are done in order, each once, one at a time."""
    thing.write("mkdir busy || touch overlap; sleep 0.02; rmdir busy")
    # More than AWS IoT lists.
    jobs = [thing.create() for _ in range(11)]
    with Executor(thing):
        thing.wait(jobs[-1], "SUCCEEDED")
        jobs.append(thing.create())
        thing.wait(jobs[-1], "SUCCEEDED")
        until(lambda: not thing.state.exists())
    assert thing.ran == [f"{job} 1 0" for job in jobs]
    assert not (thing.folder / "overlap").exists()


@pytest.mark.parametrize("operation", ["cancel_job", "delete_job"])
def test_ended_by_the_operator(thing: Thing, operation: str) -> None:
    """The handler of a canceled or deleted execution is ended, and the next job begins."""
    thing.write(f"[ -e began ] && exit 0; {ENDLESS}")
    job, following = thing.create(), thing.create()
    with thing.device() as executor:
        (pid,) = until(lambda: thing.wrote("began"))
        getattr(thing.operator, operation)(jobId=job, force=True)
        thing.wait(following, "SUCCEEDED")
        executor.wait_for(f"{job}: the handler was ended")
    assert not alive(pid)


def test_sigterm(thing: Thing) -> None:
    """SIGTERM ends device and handler; at the next start the execution is resumed."""
    thing.write(f"[ $JOB_RESUMED = 1 ] && exit 0; trap 'touch ending' TERM; {ENDLESS}")
    job = thing.create()
    with thing.device(GRACE=0.5) as executor:
        (pid,) = until(lambda: thing.wrote("began"))
        executor.process.send_signal(signal.SIGINT)
        # A second signal changes nothing about an orderly end.
        until((thing.folder / "ending").exists)
        assert executor.terminate() == 0
        assert not alive(pid)
        assert "Traceback" not in executor.log
    assert thing.status(job) == "IN_PROGRESS"
    with thing.device():
        thing.wait(job, "SUCCEEDED")
    assert thing.ran == [f"{job} 1 0", f"{job} 1 1"]


def test_killed_again_and_again(thing: Thing) -> None:
    """Killed in the middle of its jobs, it does all of them."""
    thing.write("sleep 0.02; echo $JOB_ID >> done")
    jobs = [thing.create() for _ in range(4)]
    for job in jobs[:3]:
        with thing.device() as executor:
            executor.wait_for(f"{job}: started")
    with thing.device():
        thing.wait(jobs[-1], "SUCCEEDED")
    assert [thing.status(job) for job in jobs] == ["SUCCEEDED"] * 4
    assert list(dict.fromkeys(thing.wrote("done"))) == jobs


def test_outages(thing: Thing) -> None:
    """It starts without a network, and reports after an outage what was done during it."""
    thing.write(PATIENT)
    job = thing.create()
    with Proxy(int(thing.iot["IOT_PORT"])) as proxy:
        thing.iot["IOT_PORT"] = str(proxy.port)
        proxy.refuse()
        with thing.device() as executor:
            executor.wait_for("no connection")
            proxy.listen()
            until(lambda: thing.wrote("began"))
            proxy.refuse()
            thing.touch("go")
            until(lambda: "SUCCEEDED" in thing.state.read_text())
            proxy.listen()
            thing.wait(job, "SUCCEEDED")
            proxy.silent = True
            assert executor.terminate() == 0
            assert "Traceback" not in executor.log
    assert thing.ran == [f"{job} 1 0"]


# With a scripted service


def test_a_new_connection(service: JobsService) -> None:
    """On each connection it subscribes to events and responses, then asks without a pause."""
    service.write()
    service.refuse("start-next", "InternalError")
    with service.device(FIRST_PAUSE=60) as executor:
        executor.wait_for("InternalError")
        for job_id in ("Job1", "Job2"):
            execution = service.add(job_id)
            service.broker.drop()
            wait_for_success(execution)
        assert "no response" not in executor.log
    topics = ["notify", "notify-next", "start-next/+", "+/get/+", "+/update/+"]
    assert service.broker.subscribed == topics * 3


def test_the_outcome_is_sent_until_it_is_accepted(service: JobsService) -> None:
    """Lost responses, throttling, errors and a passing ResourceNotFound do not lose it."""
    service.write("exit 1")
    execution = service.add("Job1", number=3)
    codes = ("RequestThrottled", "InternalError", "VersionMismatch", "ResourceNotFound")
    service.refuse("update", None, *codes, "InvalidRequest")
    with service.device():
        until(lambda: execution["status"] == "FAILED")
    bare = {"status": "FAILED", "executionNumber": 3}
    updates = [body for body in service.asked("update") if body.pop("clientToken")]
    # InvalidRequest may be about the statusDetails.
    assert updates[:7] == [bare | {"statusDetails": {"exitStatus": "1"}}] * 6 + [bare]
    assert service.ran == ["Job1 3 0"]


def test_an_execution_that_is_not_found(service: JobsService) -> None:
    """Only a repeated ResourceNotFound says that the execution at work was deleted."""
    service.write(PATIENT)
    service.add("Job1")
    service.refuse("get", *["ResourceNotFound"] * 2)
    with service.device() as executor:
        until(lambda: service.wrote("began"))
        service.broker.publish("notify", b"{}")
        until(lambda: len(service.asked("get")) > 2)
        service.refuse("get", *["ResourceNotFound"] * 3)
        assert "the handler was ended" not in executor.log
        service.broker.publish("notify", b"{}")
        executor.wait_for("the handler was ended")


@pytest.mark.parametrize(("event", "idle"), [(b'{"execution": {"jobId": "Job1"}}', 60), (b"", 0.1)])
def test_an_execution_that_comes_later_than_its_event(
    service: JobsService, event: bytes, idle: float
) -> None:
    """It asks again soon after an event that names an execution, and now and then without one."""
    service.write()
    with service.device(FIRST_IDLE_PAUSE=idle, LONGEST_IDLE_PAUSE=idle):
        until(lambda: service.asked("start-next"))
        if event:
            service.broker.publish("notify-next", event)
        until(lambda: len(service.asked("start-next")) > 2)
        wait_for_success(service.add("Job1"))


def test_events_that_come_twice_late_or_broken(service: JobsService) -> None:
    """Events of any number, age and shape neither end a handler nor run one twice."""
    service.write(PATIENT)
    execution = service.add("Job1")
    events = [b'{"jobs": {}}', b'{"execution": {"jobId": "Job1"}}', b"\xff", b"[]", b"[" * 9999]
    with service.device() as executor:
        until(lambda: service.wrote("began"))
        service.broker.publish_all("notify", events * 20)
        until(lambda: service.asked("get"))
        service.touch("go")
        wait_for_success(execution)
        service.broker.publish_all("notify-next", events * 20)
        wait_for_success(service.add("Job2"))
        assert "Traceback" not in executor.log
    assert service.ran == ["Job1 1 0", "Job2 1 0"]


@pytest.mark.parametrize("accepted", [True, False])
def test_killed_while_the_outcome_is_sent(service: JobsService, *, accepted: bool) -> None:
    """Killed before it knows whether the outcome was accepted, it runs nothing again."""
    service.write()
    first, second = service.add("Job1"), service.add("Job2")
    service.refuse("update", None)
    with service.device() as executor:
        until(lambda: service.asked("update"))
        executor.kill()
    if accepted:
        first["status"] = "SUCCEEDED"
    with service.device():
        wait_for_success(second)
    assert first["status"] == "SUCCEEDED"
    assert service.ran == ["Job1 1 0", "Job2 1 0"]


@pytest.mark.parametrize(("later", "status"), [(0, "QUEUED"), (1, "IN_PROGRESS")])
def test_a_job_id_that_is_used_again(service: JobsService, later: int, status: str) -> None:
    """A job with the id of a deleted one does not get its outcome, and is carried out."""
    service.write("[ -e failed ] || { touch failed; exit 1; }")
    service.add("Job1")
    service.refuse("update", None)
    with service.device() as executor:
        until(lambda: service.asked("update"))
        service.executions.clear()
        again = service.add("Job1", queued_at=int(JOB.queued_at) + later)
        again["status"] = status
        service.broker.publish("notify", b"{}")
        executor.wait_for("Job1: FAILED, but the execution has ended")
        wait_for_success(again)
    assert service.ran == ["Job1 1 0"] * 2


def test_the_step_timer(service: JobsService) -> None:
    """It runs from the start, progress starts it again, and an outcome after its end is dropped."""
    service.write("echo '{\"step\": 1}'", PATIENT)
    service.refuse("start-next", "InternalError", *["ResourceNotFound"] * 4)
    execution, retry = service.add("Job1"), service.add("Job1", number=2)
    with service.device("--step-timeout", "1.5") as executor:
        (progress,) = until(lambda: service.asked("update"))
        execution["status"] = "TIMED_OUT"
        service.touch("go")
        executor.wait_for("Job1: SUCCEEDED, but the execution has ended")
        wait_for_success(retry)
    timer = {"stepTimeoutInMinutes": 2}
    assert all(timer.items() <= body.items() for body in service.asked("start-next"))
    reported = timer | {"status": "IN_PROGRESS", "statusDetails": {"step": "1"}}
    assert reported.items() <= progress.items()
    assert "stepTimeoutInMinutes" not in service.asked("update")[1]


def test_another_client_takes_over(service: JobsService) -> None:
    """It says why it was disconnected, and comes back after a pause of its own."""
    with service.device(FIRST_TAKE_OVER_PAUSE=1, FIRST_RECONNECT_PAUSE=0.01) as executor:
        until(lambda: service.asked("start-next"))
        service.broker.disconnect(mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER)
        executor.wait_for("connection lost: SESSION_TAKEN_OVER")
        with suppress(AssertionError):
            until(lambda: service.broker.connections > 1, patience=0.5)
        assert service.broker.connections == 1
        until(lambda: len(service.asked("start-next")) > 1)


def test_a_policy_without_the_topics(service: JobsService) -> None:
    """A request that the policy does not allow is named; a missing subscription ends the device."""
    service.broker.puback["start-next"] = mqtt5.PubAckReasonCode.NOT_AUTHORIZED
    with service.device() as executor:
        executor.wait_for("the policy does not allow iot:Publish")
        service.broker.suback["+/get/+"] = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
        service.broker.drop()
        assert executor.process.wait(20) == 1
        executor.wait_for("the policy does not allow iot:Subscribe to")
        assert "Traceback" not in executor.log
