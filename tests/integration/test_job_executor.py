"""The reference device of examples/ does what it promises: against the real service, and against a scripted one."""

import ast
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mqtt5
import psutil
import pytest

from tests.support.account import Account, Device
from tests.support.broker import Broker, Request
from tests.support.executor import (
    SCRIPT,
    Executor,
    Handlers,
    Held,
    JobsService,
    alive,
    connection,
    scripted_connection,
    until,
)
from tests.support.proxy import PATIENCE, Proxy

LISTEN = ["notify", "notify-next"]
EPOCH = 1_700_000_000  # when executions are queued by the scripted service
SLOW = "echo $$ > pid; while :; do sleep 0.05; done"  # until it is ended


@pytest.fixture
def handlers(tmp_path: Path) -> Handlers:
    return Handlers(tmp_path)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


@pytest.fixture
def service(broker: Broker) -> JobsService:
    return JobsService(broker)


def is_done(execution: dict[str, Any]) -> bool:
    return bool(execution["status"] == "SUCCEEDED")


class Thing:
    """A thing of the account, its certificate, and its jobs as an operator sees them."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.device: Device = account.device()
        account.iot.create_thing(thingName=self.device.thing)

    def connection(self, port: int | None = None) -> dict[str, str]:
        return connection(self.account.local, self.device, port)

    def create(self, document: object = None) -> str:
        return self.account.create_job(self.device.thing, document=document)

    def execution(self, job_id: str) -> dict[str, Any]:
        answer = self.account.iot.describe_job_execution(jobId=job_id, thingName=self.device.thing)
        execution: dict[str, Any] = answer["execution"]
        return execution

    def status(self, job_id: str) -> str:
        return str(self.execution(job_id)["status"])

    def details(self, job_id: str) -> dict[str, str]:
        details: dict[str, str] = (
            self.execution(job_id).get("statusDetails", {}).get("detailsMap", {})
        )
        return details

    def wait(self, job_id: str, status: str, patience: float = 20) -> None:
        until(lambda: self.status(job_id) == status, patience)


@pytest.fixture
def thing(account: Account) -> Thing:
    return Thing(account)


# What it is


def test_one_file_to_copy() -> None:
    """It is one file of less than 350 lines that imports awsiotsdk and the standard library, nothing else."""
    source = SCRIPT.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 350
    imports = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    packages = {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    packages |= {
        alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names
    }
    assert {package.split(".")[0] for package in packages} - sys.stdlib_module_names == {
        "awscrt",
        "awsiot",
    }


# The work, with the real service


def test_what_is_queued_is_done_in_order(thing: Thing, handlers: Handlers) -> None:
    """What was queued before the start is done first, in its order, and then what comes; each once, one at a time."""
    handlers.write("mkdir busy || echo two >> overlap", "sleep 0.05", "rmdir busy")
    jobs = [thing.create() for _ in range(3)]
    with Executor(handlers, thing.connection()):
        thing.wait(jobs[-1], "SUCCEEDED")
        jobs += [thing.create() for _ in range(12)]  # more than the service lists
        thing.wait(jobs[-1], "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0" for job in jobs]
    assert handlers.wrote("overlap") == []
    assert [thing.status(job) for job in jobs] == ["SUCCEEDED"] * 15


def test_what_the_handler_gets_and_gives(thing: Thing, handlers: Handlers) -> None:
    """The document comes on standard input; lines of JSON on standard output become the statusDetails."""
    handlers.write(
        "cat > document",
        "echo 'no JSON'; echo '[1]'; echo '{\"step\": \"1/2\"}'",
        "while [ ! -e go ]; do sleep 0.02; done",
        'printf \'{"step": "2/2", "free": 17, "why": null}\'',  # and no end of line
    )
    document = {"text": "Grüße, 🙂", "deep": [{"x": 1.5}]}
    with Executor(handlers, thing.connection()):
        job = thing.create(document)
        until(lambda: thing.details(job) == {"step": "1/2"})
        assert thing.status(job) == "IN_PROGRESS"
        (handlers.folder / "go").touch()
        thing.wait(job, "SUCCEEDED")
    assert json.loads("".join(handlers.wrote("document"))) == document
    assert thing.details(job) == {"step": "2/2", "free": "17", "why": "null"}


@pytest.mark.parametrize(
    ("end", "status", "details"),
    [
        ("exit 0", "SUCCEEDED", {"step": "1"}),
        (
            "echo bad thing >&2; exit 65",
            "REJECTED",
            {"step": "1", "exitStatus": "65", "stderr": "bad thing"},
        ),
        (
            "printf 'a\\n\\033[31mb\\n' >&2; exit 3",
            "FAILED",
            {"step": "1", "exitStatus": "3", "stderr": "a  [31mb"},
        ),
        ("kill -9 $$", "FAILED", {"step": "1", "exitStatus": "signal 9"}),
    ],
)
def test_outcomes(
    thing: Thing, handlers: Handlers, end: str, status: str, details: dict[str, str]
) -> None:
    """The exit status decides; why it failed stands in the statusDetails."""
    handlers.write("echo '{\"step\": 1}'", end)
    job = thing.create()
    with Executor(handlers, thing.connection()):
        thing.wait(job, status)
    assert thing.details(job) == details


@pytest.mark.parametrize("content", [None, "#!/no/such/interpreter", "no program at all"])
def test_a_handler_that_cannot_be_started(
    thing: Thing, handlers: Handlers, content: str | None
) -> None:
    """The job fails and says why, and the device goes on."""
    if content:
        handlers.path.write_text(content)
        handlers.path.chmod(0o755)
    jobs = [thing.create(), thing.create()]
    with Executor(handlers, thing.connection()):
        thing.wait(jobs[1], "FAILED")
    assert thing.details(jobs[0])["reason"].startswith("the handler cannot be started: ")


def test_nothing_is_left_of_what_cannot_be_started(thing: Thing, handlers: Handlers) -> None:
    """A handler that cannot be started leaves no process behind, however many jobs find that out."""
    jobs = [thing.create() for _ in range(5)]
    with Executor(handlers, thing.connection()) as executor:
        thing.wait(jobs[-1], "FAILED")
        until(lambda: not psutil.Process(executor.process.pid).children())


def test_details_are_cut_to_what_aws_takes(thing: Thing, handlers: Handlers) -> None:
    """Ten pairs, names of 128 characters, values of 1 to 1,024 without control characters; the rest is left out."""
    handlers.write(f"cat {handlers.folder}/line; cat {handlers.folder}/errors >&2; exit 1")
    line = {
        "a b": "no name",
        "": "none",
        "n" * 129: "too long",
        "empty": "",
        "long": "x" * 2000,
        "bell": "a\u0007\u202eb",
    }
    line |= {f"name:{number}": str(number) for number in range(12)}
    (handlers.folder / "line").write_text(json.dumps(line) + "\n")
    (handlers.folder / "errors").write_text("e" * 100_000 + "the end\n")
    job = thing.create()
    with Executor(handlers, thing.connection()):
        thing.wait(job, "FAILED")
    details = thing.details(job)
    assert len(details) == 10
    assert details["exitStatus"] == "1"
    assert details["stderr"] == "e" * 1017 + "the end"
    assert details["long"] == "x" * 1024
    assert details["bell"] == "a  b"
    assert [name for name in details if name.startswith("name:")] == [
        f"name:{number}" for number in range(6)
    ]


@pytest.mark.parametrize(
    "flood",
    [
        "head -c 60000000 /dev/zero",
        "head -c 60000000 /dev/zero >&2",
        "yes | head -c 60000000; yes 'an error' | head -n 300000 >&2",
        'yes \'{"step": "x"}\' | head -n 2000000',
        "head -c 30000000 /dev/zero | tr '\\0' '['",
    ],
    ids=["no lines", "no lines of errors", "lines", "progress", "brackets"],
)
def test_a_flood(thing: Thing, handlers: Handlers, flood: str) -> None:
    """However much the handler prints, it is not held up, the device's memory does not grow, and the end is kept."""
    handlers.write(flood, 'echo; echo \'{"step": "last"}\'', "echo the end >&2", "exit 1")
    job = thing.create()
    memory = [0]
    with Executor(handlers, thing.connection()) as executor:
        process = psutil.Process(executor.process.pid)

        def ended() -> bool:
            memory.append(process.memory_info().rss)
            return thing.status(job) == "FAILED"

        until(ended, patience=60)
    assert max(memory) < 100e6
    assert thing.details(job)["step"] == "last"
    assert thing.details(job)["stderr"].endswith("the end")


def test_last_words(thing: Thing, handlers: Handlers) -> None:
    """What is still on its way when the handler ends is waited for, for a moment."""
    handlers.write("(sleep 0.3; echo late >&2) & exit 1")
    job = thing.create()
    with Executor(handlers, thing.connection()):
        thing.wait(job, "FAILED")
    assert thing.details(job) == {"exitStatus": "1", "stderr": "late"}


def test_what_a_handler_leaves_running(thing: Thing, handlers: Handlers) -> None:
    """A process that the handler leaves behind, its output still open, keeps nothing waiting and is left alone."""
    handlers.write("sleep 60 & echo $! > left")
    jobs = [thing.create(), thing.create()]
    with Executor(handlers, thing.connection()):
        thing.wait(jobs[1], "SUCCEEDED")
        (left,) = handlers.wrote("left")
        assert alive(left)
        psutil.Process(int(left)).kill()


def test_a_handler_that_leaves_somebody_talking(service: JobsService, handlers: Handlers) -> None:
    """What a process says that a handler left running is no reason to ask the service for jobs, again and again."""
    handlers.write("(while sleep 0.02; do echo '{}'; done) & exit 0")
    execution = service.add("Job1")
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: is_done(execution))
        time.sleep(1)
        assert len(service.asked("start-next")) <= 3


def test_a_handler_that_stops_its_group(thing: Thing, handlers: Handlers) -> None:
    """Whom a handler leaves stopped, and be it the leader of its group, keeps nobody waiting."""
    handlers.write("kill -STOP $(ps -o pgid= -p $$); exit 0")
    jobs = [thing.create(), thing.create()]
    with Executor(handlers, thing.connection()) as executor:
        thing.wait(jobs[1], "SUCCEEDED")
        until(lambda: not psutil.Process(executor.process.pid).children())
        assert executor.terminate() == 0


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM"])
def test_a_handler_that_hangs(thing: Thing, handlers: Handlers, stubborn: str) -> None:
    """After the step timeout it is ended with all that it has started, and the job fails; the next one begins."""
    handlers.write("[ -e pid ] && exit 0", stubborn, "sleep 300 & echo $! > child", SLOW)
    jobs = [thing.create(), thing.create()]
    with Executor(handlers, thing.connection(), "--step-timeout", "0.02"):
        thing.wait(jobs[0], "FAILED")
        thing.wait(jobs[1], "SUCCEEDED")
    assert thing.details(jobs[0])["reason"] == "no progress for 0.02 minutes"
    assert not alive(handlers.pid())
    assert not alive(handlers.wrote("child")[0])


def test_progress_renews_the_step_timeout(service: JobsService, handlers: Handlers) -> None:
    """A handler that reports progress in time may take as long as it likes; the service's timer is renewed too."""
    handlers.write('for step in 1 2 3 4 5 6; do echo "{\\"step\\": $step}"; sleep 0.6; done')
    execution = service.add("Job1")
    with Executor(
        handlers, scripted_connection(service.broker, handlers.folder), "--step-timeout", "0.03"
    ):
        until(lambda: execution["status"] == "SUCCEEDED")
    assert {body["stepTimeoutInMinutes"] for body in service.asked("start-next")} == {1}
    *progress, outcome = service.asked("update")
    assert len(progress) > 1
    assert {body["stepTimeoutInMinutes"] for body in progress} == {1}
    assert "stepTimeoutInMinutes" not in outcome


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_ended_by_the_operator(thing: Thing, handlers: Handlers, how: str) -> None:
    """When its execution is canceled or deleted, the handler is ended, nothing is reported, and the next job begins."""
    handlers.write("[ -e pid ] && exit 0", "sleep 300 & echo $! > child", SLOW)
    job, following = thing.create(), thing.create()
    with Executor(handlers, thing.connection()) as executor:
        until(handlers.pid)
        if how == "cancel":
            thing.account.iot.cancel_job(jobId=job, force=True)
        else:
            thing.account.iot.delete_job(jobId=job, force=True)
        thing.wait(following, "SUCCEEDED")
        executor.wait_for(f"{job} was canceled, deleted or timed out")
    assert not alive(handlers.pid())
    assert not alive(handlers.wrote("child")[0])
    if how == "cancel":
        assert thing.status(job) == "CANCELED"


def test_canceled_without_force(thing: Thing, handlers: Handlers) -> None:
    """A job that is canceled without force lets executions in progress end by themselves; and so does the device."""
    handlers.write("touch began; while [ ! -e go ]; do sleep 0.02; done")
    job, other = thing.create(), thing.create()
    with Executor(handlers, thing.connection()):
        until((handlers.folder / "began").exists)
        thing.account.iot.cancel_job(jobId=job)
        thing.account.iot.cancel_job(jobId=other)  # which sends an event
        (handlers.folder / "go").touch()
        thing.wait(job, "SUCCEEDED")


def test_a_job_id_that_is_used_again(thing: Thing, handlers: Handlers) -> None:
    """A job that is deleted, and created again with the same id at once, is another job."""
    handlers.write("cat >> documents; echo >> documents")
    job = f"Again-{thing.device.thing}"
    with Executor(handlers, thing.connection()):
        for document in ({"n": 1}, {"n": 2}):
            thing.account.create_job(thing.device.thing, job, document)
            thing.wait(job, "SUCCEEDED")
            thing.account.delete_job(job)
    assert [json.loads(line) for line in handlers.wrote("documents")] == [{"n": 1}, {"n": 2}]
    assert handlers.ran == [f"{job} 1 0"] * 2


# Ends and starts


def test_sigterm(thing: Thing, handlers: Handlers) -> None:
    """SIGTERM goes to the handler too; the execution stays in progress, and is taken up again at the next start."""
    handlers.write(
        "[ $JOB_RESUMED = 1 ] && exit 0",
        "trap 'echo TERM > got; exit 0' TERM",
        "touch began; while :; do sleep 0.05; done",
    )
    job = thing.create()
    with Executor(handlers, thing.connection()) as executor:
        until((handlers.folder / "began").exists)
        assert executor.terminate() == 0
        assert handlers.wrote("got") == ["TERM"]
        assert thing.status(job) == "IN_PROGRESS"
        assert "Traceback" not in executor.log
    with Executor(handlers, thing.connection()):
        thing.wait(job, "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0", f"{job} 1 1"]


def test_sigterm_when_the_handler_has_ended(thing: Thing, handlers: Handlers) -> None:
    """While its last words are waited for, SIGTERM costs neither the outcome nor what it left running."""
    handlers.write("sleep 60 & echo $! > left")
    job = thing.create()
    with Executor(handlers, thing.connection()) as executor:
        (left,) = until(lambda: handlers.wrote("left"))
        until(lambda: len(psutil.Process(executor.process.pid).children()) == 1)  # the guard
        assert executor.terminate() == 0
    assert alive(left)
    with Executor(handlers, thing.connection()):
        thing.wait(job, "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0"]
    psutil.Process(int(left)).kill()


def test_sigterm_with_nothing_to_do(thing: Thing, handlers: Handlers) -> None:
    """SIGTERM ends it in every state of the connection, without a word of Python's."""
    with Proxy(thing.account.local.port) as proxy:
        with Executor(handlers, thing.connection(proxy.port)) as executor:
            until(lambda: proxy.accepted)
            proxy.refuse()
            executor.wait_for("no connection yet")
            assert executor.terminate() == 0
        proxy.listen()
        handlers.write()
        with Executor(handlers, thing.connection(proxy.port)) as executor:
            thing.wait(thing.create(), "SUCCEEDED")
            proxy.silent = True
            assert executor.terminate() == 0
    assert "Traceback" not in executor.log
    assert "xception" not in executor.log


@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_sigterm_twice(thing: Thing, handlers: Handlers, pause: float) -> None:
    """A second SIGTERM, or one after Ctrl-C, changes nothing about an orderly end."""
    handlers.write()
    with Executor(handlers, thing.connection()) as executor:
        thing.wait(thing.create(), "SUCCEEDED")
        executor.process.send_signal(signal.SIGINT)
        time.sleep(pause)
        assert executor.terminate() == 0
        assert "Traceback" not in executor.log


def test_killed_while_the_handler_runs(thing: Thing, handlers: Handlers) -> None:
    """Killed in the middle of the work, it takes its handler along, and does the work at the next start."""
    handlers.write("[ -e pid ] && exit 0", "sleep 300 & echo $! > child", SLOW)
    job, following = thing.create(), thing.create()
    with Executor(handlers, thing.connection()) as executor:
        until(handlers.pid)
        executor.kill()
    until(lambda: not alive(handlers.pid()))
    until(lambda: not alive(handlers.wrote("child")[0]))
    assert thing.status(job) == "IN_PROGRESS"
    with Executor(handlers, thing.connection()):
        thing.wait(job, "SUCCEEDED")
        thing.wait(following, "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0", f"{job} 1 1", f"{following} 1 0"]


@pytest.mark.parametrize("name", ["HUP", "INT", "USR1"])
def test_killed_after_a_signal_to_the_group(thing: Thing, handlers: Handlers, name: str) -> None:
    """A handler that signals its own group, and goes on, is killed with the executor even so."""
    handlers.write("sleep 0.5", f"trap : {name}; kill -s {name} 0", SLOW)
    thing.create()
    with Executor(handlers, thing.connection()) as executor:
        until(handlers.pid)
        executor.kill()
    until(lambda: not alive(handlers.pid()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_while_a_handler_starts(
    number: signal.Signals, thing: Thing, handlers: Handlers
) -> None:
    """Ended by the very first act of its handler, before it knows of that, it takes it along, and hangs in no wait."""
    handlers.write(
        "[ -e pid ] && exit 0",
        f"echo $$ > pid; kill -{number} $PPID",
        "while :; do sleep 0.05; done",
    )
    job = thing.create()
    with Executor(handlers, thing.connection()) as executor:
        assert executor.process.wait(PATIENCE) == (0 if number == signal.SIGTERM else -number)
    until(lambda: not alive(handlers.pid()))
    with Executor(handlers, thing.connection()):
        thing.wait(job, "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0", f"{job} 1 1"]


def test_killed_before_the_outcome_was_sent(thing: Thing, handlers: Handlers) -> None:
    """Killed when the work is done and the connection is down, it only sends the outcome at the next start."""
    handlers.write(
        "touch began; while [ ! -e go ]; do sleep 0.02; done", 'echo \'{"step": "done"}\'; exit 7'
    )
    job = thing.create()
    with (
        Proxy(thing.account.local.port) as proxy,
        Executor(handlers, thing.connection(proxy.port)) as executor,
    ):
        until((handlers.folder / "began").exists)
        proxy.refuse()
        (handlers.folder / "go").touch()
        until(lambda: "FAILED" in handlers.state.read_text())
        executor.kill()
    assert thing.status(job) == "IN_PROGRESS"
    with Executor(handlers, thing.connection()):
        thing.wait(job, "FAILED")
        following = thing.create()
        thing.wait(following, "FAILED")
    assert thing.details(job) == {"exitStatus": "7", "step": "done"}
    assert handlers.ran == [f"{job} 1 0", f"{following} 1 0"]


def test_killed_before_start_next_was_answered(service: JobsService, handlers: Handlers) -> None:
    """Killed before it knows what it was given, it is given the same again: the handler runs once, as a first time."""
    handlers.write()
    execution = service.add("Job1")
    held = Held("start-next")
    service.meddle = held
    iot = scripted_connection(service.broker, handlers.folder)
    with Executor(handlers, iot) as executor:
        until(held.is_set)
        execution["status"] = "IN_PROGRESS"
        executor.kill()
    with Executor(handlers, iot):
        until(lambda: execution["status"] == "SUCCEEDED")
    assert handlers.ran == ["Job1 1 0"]
    assert service.reported() == ["SUCCEEDED"]


@pytest.mark.parametrize("taken", [True, False])
def test_killed_after_the_outcome_was_sent(
    service: JobsService, handlers: Handlers, *, taken: bool
) -> None:
    """Killed before it knows whether the outcome was taken, it sees to that, and no handler runs twice."""
    handlers.write()
    jobs = [service.add("Job1"), service.add("Job2")]
    held = Held("Job1/update")
    service.meddle = held
    iot = scripted_connection(service.broker, handlers.folder)
    with Executor(handlers, iot) as executor:
        until(held.is_set)
        if taken:
            jobs[0]["status"] = "SUCCEEDED"
        executor.kill()
    with Executor(handlers, iot):
        until(lambda: jobs[1]["status"] == "SUCCEEDED")
    assert handlers.ran == ["Job1 1 0", "Job2 1 0"]
    assert service.reported() == ["SUCCEEDED"] * (2 if taken else 3)
    assert jobs[0]["status"] == "SUCCEEDED"


def test_killed_again_and_again(thing: Thing, handlers: Handlers) -> None:
    """Killed again and again in the middle of ten jobs, it does all of them in the end."""
    handlers.write("sleep 0.02", 'echo "$JOB_ID" >> finished')
    jobs = [thing.create() for _ in range(10)]

    def further(runs: int) -> bool:
        return len(handlers.ran) >= runs or thing.status(jobs[-1]) == "SUCCEEDED"

    while thing.status(jobs[-1]) != "SUCCEEDED":
        with Executor(handlers, thing.connection()):
            until(partial(further, len(handlers.ran) + 2))
    assert [thing.status(job) for job in jobs] == ["SUCCEEDED"] * 10
    assert sorted(set(handlers.wrote("finished"))) == sorted(jobs)


def test_a_state_that_cannot_be_kept(thing: Thing, handlers: Handlers) -> None:
    """A disk that takes no state file keeps no job from being done; the log tells what that may cost."""
    handlers.write()
    handlers.state = handlers.folder / "nowhere" / "state"
    job = thing.create()
    with Executor(handlers, thing.connection()) as executor:
        thing.wait(job, "SUCCEEDED")
        assert "cannot be written; a handler may run again after a power cut" in executor.log


@pytest.mark.parametrize("content", ['[{"job_id": "Jo', "null", "3", "[" * 100_000])
def test_a_state_that_cannot_be_read(thing: Thing, handlers: Handlers, content: str) -> None:
    """A damaged state file is as good as none."""
    handlers.write()
    handlers.state.write_text(content)
    job = thing.create()
    with Executor(handlers, thing.connection()):
        thing.wait(job, "SUCCEEDED")
        until(lambda: not handlers.state.exists())


def test_a_state_that_is_a_folder(thing: Thing, handlers: Handlers) -> None:
    """A state file that cannot even be opened keeps no job from being done."""
    handlers.write()
    handlers.state.mkdir()
    with Executor(handlers, thing.connection()):
        thing.wait(thing.create(), "SUCCEEDED")


# The network


def test_listens_before_it_asks(service: JobsService, handlers: Handlers) -> None:
    """Both streams are subscribed before the first question, and again before the first one after each reconnect."""
    handlers.write()
    broker = service.broker

    def further(asked: int) -> bool:
        return len(service.asked("start-next")) > asked

    with Executor(handlers, scripted_connection(broker, handlers.folder)):
        for connections in (1, 2, 3):
            asked = len(service.asked("start-next"))
            if connections > 1:
                broker.subscribed.clear()
                broker.drop()
            broker.wait_for(partial(further, asked))
            assert broker.connections == connections
            assert sorted(broker.subscribed[:2]) == LISTEN


def test_the_network_comes_late_and_goes(thing: Thing, handlers: Handlers) -> None:
    """It starts without a network, and after an outage asks for what it was not told of."""
    handlers.write()
    with Proxy(thing.account.local.port) as proxy:
        proxy.refuse()
        with Executor(handlers, thing.connection(proxy.port)) as executor:
            executor.wait_for("no connection yet")
            proxy.listen()
            thing.wait(thing.create(), "SUCCEEDED")
            proxy.refuse()
            executor.wait_for("connection lost")
            job = thing.create()
            proxy.listen()
            thing.wait(job, "SUCCEEDED")


def test_an_outage_while_the_handler_runs(thing: Thing, handlers: Handlers) -> None:
    """The outcome of a handler that ended during an outage is sent when the network is back; it runs once."""
    handlers.write("touch began; while [ ! -e go ]; do sleep 0.02; done")
    job = thing.create()
    with (
        Proxy(thing.account.local.port) as proxy,
        Executor(handlers, thing.connection(proxy.port)) as executor,
    ):
        until((handlers.folder / "began").exists)
        proxy.refuse()
        (handlers.folder / "go").touch()
        until(lambda: "SUCCEEDED" in handlers.state.read_text())
        executor.wait_for("a pause: ")
        proxy.listen()
        thing.wait(job, "SUCCEEDED")
    assert handlers.ran == [f"{job} 1 0"]


def test_canceled_during_an_outage(thing: Thing, handlers: Handlers) -> None:
    """What was canceled while the device could not be told is noticed after the reconnect."""
    handlers.write("[ -e pid ] && exit 0", SLOW)
    job, following = thing.create(), thing.create()
    with Proxy(thing.account.local.port) as proxy, Executor(handlers, thing.connection(proxy.port)):
        until(handlers.pid)
        proxy.refuse()
        thing.account.iot.cancel_job(jobId=job, force=True)
        proxy.listen()
        thing.wait(following, "SUCCEEDED")
    assert thing.status(job) == "CANCELED"


# Answers and events


def test_sends_the_outcome_until_it_is_taken(service: JobsService, handlers: Handlers) -> None:
    """No answer, throttling and internal errors: each time it sends again, with a new token and no expectedVersion."""
    handlers.write("exit 1")
    execution = service.add("Job1", number=3)
    troubles = [None, "RequestThrottled", "InternalError"]

    def meddle(request: Request) -> bool:
        if not troubles or not request.name.endswith("update"):
            return False
        if code := troubles.pop(0):
            request.reject(code=code, message="not now")
        return True

    service.meddle = meddle
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: execution["status"] == "FAILED", patience=30)
    updates = service.asked("update")
    assert len({body.pop("clientToken") for body in updates}) == 4
    assert (
        updates
        == [{"status": "FAILED", "statusDetails": {"exitStatus": "1"}, "executionNumber": 3}] * 4
    )
    assert handlers.ran == ["Job1 3 0"]


def test_asks_until_it_is_answered(service: JobsService, handlers: Handlers) -> None:
    """Throttling, internal errors, and answers that make no sense do not stop it from asking for the next job."""
    handlers.write()
    execution = service.add("Job1")
    troubles = [
        b'{"execution": 5, "clientToken": "%s"}',
        b'{"code": "InternalError", "clientToken": "%s"}',
    ]

    def meddle(request: Request) -> bool:
        if not troubles or request.name != "start-next":
            return False
        trouble = troubles.pop(0) % request.token.encode()
        request.send(trouble, "rejected" if b"code" in trouble else "accepted")
        return True

    service.meddle = meddle
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: execution["status"] == "SUCCEEDED")


def test_a_description_that_says_nothing(service: JobsService, handlers: Handlers) -> None:
    """An answer that holds no execution is no reason to end the handler, nor to end."""
    handlers.write("while [ ! -e go ]; do sleep 0.02; done")
    execution = service.add("Job1")
    asked = threading.Event()

    def meddle(request: Request) -> bool:
        if request.name != "Job1/get":
            return False
        request.accept()
        asked.set()
        return True

    service.meddle = meddle
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: handlers.ran)
        service.broker.publish("notify", b"{}")
        until(asked.is_set)
        (handlers.folder / "go").touch()
        until(lambda: execution["status"] == "SUCCEEDED")
    assert handlers.ran == ["Job1 1 0"]


def test_an_outcome_that_is_refused(service: JobsService, handlers: Handlers) -> None:
    """An execution that ends while its outcome is on the way refuses it, and the next job begins."""
    handlers.write()
    jobs = [service.add("Job1"), service.add("Job2")]

    def meddle(request: Request) -> bool:
        if request.name == "Job1/update":
            jobs[0]["status"] = "TIMED_OUT"  # and no event
        return False

    service.meddle = meddle
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: jobs[1]["status"] == "SUCCEEDED")
    assert handlers.ran == ["Job1 1 0", "Job2 1 0"]
    assert service.reported() == ["SUCCEEDED"] * 2


def test_details_that_are_refused(service: JobsService, handlers: Handlers) -> None:
    """Should the service not like the statusDetails, the outcome is sent without."""
    handlers.write("exit 1")
    execution = service.add("Job1")

    def meddle(request: Request) -> bool:
        if request.name != "Job1/update" or "statusDetails" not in request.body:
            return False
        request.reject(code="InvalidRequest", message="statusDetails")
        return True

    service.meddle = meddle
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: execution["status"] == "FAILED")


def test_events_that_come_twice_late_or_broken(service: JobsService, handlers: Handlers) -> None:
    """Events of any number, age and shape neither end a handler nor run one twice."""
    handlers.write("while [ ! -e go ]; do sleep 0.02; done")
    broker, execution = service.broker, service.add("Job1")
    old = {
        "jobId": "Job1",
        "executionNumber": 1,
        "queuedAt": 1,
        "lastUpdatedAt": 1,
        "versionNumber": 1,
    }
    events = {
        "notify": [
            b'{"jobs": {}}',
            json.dumps({"jobs": {"QUEUED": [old]}}).encode(),
            b"{",
            b"\xff",
            b'{"jobs": 5}',
        ],
        "notify-next": [
            b"{}",
            json.dumps({"execution": old | {"status": "QUEUED"}}).encode(),
            b"[]",
            b"",
        ],
    }

    def publish() -> None:
        for name, payloads in events.items():
            broker.publish_all(name, payloads * 20)

    with Executor(handlers, scripted_connection(broker, handlers.folder)):
        until(lambda: handlers.ran)
        publish()
        until(lambda: service.asked("Job1/get"))
        (handlers.folder / "go").touch()
        until(lambda: execution["status"] == "SUCCEEDED")
        asked = len(service.asked("start-next"))
        publish()
        broker.wait_for(lambda: len(service.asked("start-next")) > asked)
    assert handlers.ran == ["Job1 1 0"]


@pytest.mark.parametrize("payload", [b"{}", b"{"], ids=["readable", "unreadable"])
@pytest.mark.parametrize("stream", LISTEN)
def test_any_event_is_news(
    service: JobsService, handlers: Handlers, stream: str, payload: bytes
) -> None:
    """An event on either stream, whatever it says, makes the device ask for what it has to do."""
    handlers.write()
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        service.broker.wait_for(lambda: service.asked("start-next"))
        execution = service.add("Job1")
        service.broker.publish(stream, payload)
        until(partial(is_done, execution))


def test_another_execution_of_the_same_job(service: JobsService, handlers: Handlers) -> None:
    """A job that is tried again by the service has another execution number, and is another execution."""
    handlers.write("[ $JOB_EXECUTION_NUMBER = 2 ]")
    first = service.add("Job1")
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until(lambda: first["status"] == "FAILED")
        second = service.add("Job1", number=2)
        service.broker.publish("notify", b"{}")
        until(lambda: second["status"] == "SUCCEEDED")
    assert handlers.ran == ["Job1 1 0", "Job1 2 0"]


@pytest.mark.parametrize(("queued_at", "status"), [(EPOCH, "QUEUED"), (EPOCH + 1, "IN_PROGRESS")])
def test_an_id_that_is_used_again_while_the_outcome_waits(
    service: JobsService, handlers: Handlers, queued_at: int, status: str
) -> None:
    """The outcome of a job that was deleted is not given to the new job of that id, which is carried out."""
    handlers.write("[ ! -e failed ] && touch failed && exit 1", "exit 0")
    service.add("Job1")
    held = Held("Job1/update")
    service.meddle = held
    iot = scripted_connection(service.broker, handlers.folder)
    with Executor(handlers, iot) as executor:
        until(held.is_set)
        executor.kill()
    service.executions.clear()
    again = service.add("Job1", queued_at=queued_at)
    again["status"] = status  # or another client of the thing has started it
    with Executor(handlers, iot) as executor:
        until(lambda: again["status"] == "SUCCEEDED")
        executor.wait_for("Job1: FAILED, but it is gone")
    assert service.reported() == ["FAILED", "SUCCEEDED"]
    assert len(handlers.ran) == 2


def test_an_id_that_is_used_again_just_before_the_end(
    service: JobsService, handlers: Handlers
) -> None:
    """The outcome of a job that was deleted while its handler ended is not the one of the job that has its id now."""
    handlers.write("touch began; while [ ! -e go ]; do sleep 0.02; done; sleep 1")
    service.add("Job1")
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        until((handlers.folder / "began").exists)
        service.executions.clear()
        again = service.add("Job1", queued_at=EPOCH + 1)
        (handlers.folder / "go").touch()
        until(lambda: is_done(again))
    assert handlers.ran == ["Job1 1 0"] * 2
    assert service.reported() == ["SUCCEEDED"]


def test_an_id_that_is_used_again_within_a_second(service: JobsService, handlers: Handlers) -> None:
    """An outcome that was taken is forgotten: what then has the same id, number and time is new, and not resumed."""
    handlers.write()
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)):
        for _ in range(2):
            execution = service.add("Job1")
            service.broker.publish("notify", b"{}")
            until(partial(is_done, execution))
    assert handlers.ran == ["Job1 1 0"] * 2


# Wrong starts


def test_without_what_it_needs(handlers: Handlers, thing: Thing) -> None:
    """What is neither given nor in the environment is named, and so are files that cannot be used."""
    iot = thing.connection()
    missing = {name: value for name, value in iot.items() if name != "IOT_CERT"}
    with Executor(handlers, missing) as executor:
        assert executor.process.wait(20) == 2
        assert "the following arguments are required: cert" in executor.log
    with Executor(handlers, iot | {"IOT_KEY": "/nowhere"}) as executor:
        assert executor.process.wait(20) == 1
        assert "cannot be used" in executor.log
        assert "/nowhere" in executor.log
    assert "Traceback" not in executor.log


def test_the_command_line_goes_before_the_environment(handlers: Handlers, thing: Thing) -> None:
    """Endpoint, certificate, key and thing can be given as arguments as well."""
    handlers.write()
    iot = thing.connection()
    names = ("IOT_ENDPOINT", "IOT_CERT", "IOT_KEY", "IOT_THING")
    wrong = dict.fromkeys(names, "wrong")
    job = thing.create()
    with Executor(handlers, iot | wrong, *(iot[name] for name in names)):
        thing.wait(job, "SUCCEEDED")


def test_a_policy_without_the_streams(service: JobsService, handlers: Handlers) -> None:
    """A certificate whose policy lacks a subscription is told so, and the executor ends."""
    service.broker.suback["notify"] = mqtt5.SubAckReasonCode.NOT_AUTHORIZED
    with Executor(handlers, scripted_connection(service.broker, handlers.folder)) as executor:
        assert executor.process.wait(20) == 1
        assert "iot:Subscribe" in executor.log
        assert "Traceback" not in executor.log
