"""A device on paho-mqtt with MQTT 3.1.1 and ``$next`` that is right, or right but for one fault.

    faulty.py FAULT STATE_FILE

It connects by its ``IOT_…`` environment, keeps its session, reports an execution only when it has
ended, and knows the job documents of docs/testing-a-device.md.
"""

import json
import os
import queue
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

FAULTS = {
    "none": "it is right",
    "acknowledges nothing": "sends no PUBACK",
    "asks for too much": "subscribes to all topics of Jobs",
    "asks once": "does not subscribe to events",
    "begins with each event": "begins the next execution at each event, beside the one at work",
    "believes the list": "does the executions that were listed at its start, and no others",
    "checks no certificate": "connects to every server",
    "checks no host name": "connects to every server with a certificate of the CA",
    "cuts documents": "reads the first 16 KB of each message",
    "dies of a failure": "ends when a job fails",
    "dies of a lost connection": "ends when its connection does",
    "dies of a rejection": "ends when a request is rejected",
    "dies of an empty event": "ends when an event without an execution comes during its work",
    "fails after the restart": "reports FAILED for a job that has restarted it",
    "fails the unknown": "reports FAILED, not REJECTED, for a document that it does not know",
    "forgets what it was at": "takes executions that are QUEUED, and no others",
    "forgets its reports": "sends a report once, and does not wait for the response",
    "hammers": "repeats a rejected request at once",
    "hangs on the unknown": "waits for ever when it does not know a document",
    "ignores cancellation": "works to the end, whatever became of the execution",
    "ignores one rejection": "does not listen any more after a rejected report",
    "never asks at its start": "asks only after an event",
    "never pings": "has no keep-alive",
    "reconnects at once": "connects again five times a second",
    "ignores seconds": "does all work at once",
    "remembers ids": "does no job id twice",
    "remembers outcomes": "reports the outcome of a job id again, without doing the work",
    "remembers jobs": "does no job id, number and document twice",
    "repeats itself for ever": "sends a rejected report again for ever",
    "reports for another": "sends a kept report for whatever execution has the job id now",
    "reports twice": "sends each report again five seconds later",
    "restarts for ever": "does not know after a restart that it has restarted",
    "subscribes once": "does not subscribe again when its session is gone",
    "succeeds in everything": "reports SUCCEEDED whatever became of the work",
    "takes several at a time": "does all executions that are listed side by side",
    "takes the newest first": "does the last one of the list",
    "trusts events": "does what a NextJobExecutionChanged event brings, without asking",
    "waits for each response": "waits for ever for a response",
    "waits for each PUBACK": "waits for ever for the PUBACK of a request",
    "waits for the next event": "does not ask again when the first response was empty",
    "works beside": "lets the work of a canceled execution go on beside the next one",
}
ENDED = ("InvalidStateTransition", "TerminalStateReached", "ResourceNotFound")
# Faults that do not show in a device that asks without an event, too.
UNTIL_EVENT = ("asks once", "waits for the next event")
DEAF = (
    "begins with each event",
    "ignores cancellation",
    "repeats itself for ever",
    "trusts events",
    "works beside",
)
REMEMBERING = ("forgets its reports", "remembers ids", "remembers jobs")
RESPONSE_TIMEOUT = 3.0
ASK_AGAIN = 30.0  # seconds, without an event
STEP = 0.1  # seconds of work between two looks at the events
NEVER = threading.Event()

Execution = dict[str, Any]


class RejectedError(Exception):
    """AWS IoT has rejected a request; the code."""


class Device:
    """The device, with its fault."""

    def __init__(self, fault: str, state: Path) -> None:
        self.fault = fault
        # The report that was not accepted yet, or the execution that restarts the device.
        self.state = state
        self.thing = os.environ["IOT_THING"]
        self.topics = f"$aws/things/{self.thing}/jobs/"
        self.done: set[str] = set()
        # The last outcome of each job id.
        self.outcomes: dict[str, str] = {}
        self.responses: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        self.connected = threading.Event()
        self.subscribed = False
        self.connected_at = 0.0
        self.pause = 1.0
        # Set by each event and each connection.
        self.changed = threading.Event()
        self.events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.at_work = False
        self.client = self.new_client()

    # The connection

    def new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            os.environ["IOT_CLIENT_ID"],
            clean_session=False,
            protocol=MQTTv311,
            manual_ack=self.fault == "acknowledges nothing",
        )
        checked = self.fault != "checks no certificate"
        client.tls_set(
            os.environ["IOT_CA_FILE"],
            os.environ["IOT_CERT"],
            os.environ["IOT_KEY"],
            cert_reqs=ssl.CERT_REQUIRED if checked else ssl.CERT_NONE,
        )
        client.tls_insecure_set(not checked or self.fault == "checks no host name")
        client.on_connect = self.on_connect
        client.on_disconnect = self.on_disconnect
        client.on_message = self.on_message
        return client

    def connect(self) -> None:
        self.wait_longer(1.0)
        keep_alive = 0 if self.fault == "never pings" else 30
        self.client.connect_async(
            os.environ["IOT_ENDPOINT"], int(os.environ["IOT_PORT"]), keep_alive
        )
        self.client.loop_start()

    def wait_longer(self, pause: float) -> None:
        """Set the first pause before connecting again; paho doubles it, up to the second one."""
        longest = 30.0
        if self.fault == "reconnects at once":
            pause = longest = 0.2
        self.pause = pause
        # The annotation of paho says int.
        delays: Any = pause, max(pause, longest)
        self.client.reconnect_delay_set(*delays)

    def on_connect(self, client: Client, _: Any, flags: Any, code: Any, __: Any) -> None:
        if code.is_failure:
            return
        self.connected_at = time.monotonic()
        names = ["get/+", "+/get/+", "start-next/+", "+/update/+"]
        if self.fault != "asks once":
            names += ["notify", "notify-next"]
        if self.fault == "asks for too much":
            names = ["#"]
        if not flags.session_present and not (self.subscribed and self.fault == "subscribes once"):
            client.subscribe([(self.topics + name, 1) for name in names])
            self.subscribed = True
        self.connected.set()
        self.changed.set()

    def on_disconnect(self, *_: Any) -> None:
        self.connected.clear()
        if self.fault == "dies of a lost connection":
            os._exit(1)
        # MQTT 3.1.1 does not say that another client has the same client id.
        lasted = time.monotonic() - self.connected_at
        self.wait_longer(1.0 if lasted > 30 else min(2 * self.pause, 30.0))

    def on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        payload = message.payload
        if self.fault == "cuts documents":
            payload = payload[: 2**14]
        try:
            body = json.loads(payload)
        except ValueError:
            return
        name = message.topic.removeprefix(self.topics)
        if name == "notify-next":
            execution = body.get("execution") or {}
            if self.fault == "dies of an empty event" and self.at_work and not execution:
                os._exit(1)
            self.events.put(execution)
        if name in ("notify", "notify-next"):
            self.changed.set()
        elif response := self.responses.get(body.get("clientToken")):
            response.put(body)

    def ask(self, name: str, **fields: Any) -> dict[str, Any]:
        """A request and its response; raises TimeoutError or RejectedError."""
        if not self.connected.wait(RESPONSE_TIMEOUT):
            raise TimeoutError
        token = os.urandom(8).hex()
        response = self.responses[token] = queue.SimpleQueue()
        payload = json.dumps({**fields, "clientToken": token})
        try:
            published = self.client.publish(self.topics + name, payload, qos=1)
            if self.fault == "waits for each PUBACK":
                published.wait_for_publish()
            patience = None if self.fault == "waits for each response" else RESPONSE_TIMEOUT
            body = response.get(timeout=patience)
        except queue.Empty:
            raise TimeoutError from None
        finally:
            del self.responses[token]
        if "code" in body:
            if self.fault == "dies of a rejection":
                os._exit(1)
            raise RejectedError(body["code"])
        return body

    def insist(self, name: str, **fields: Any) -> dict[str, Any]:
        """The same, again until there is a response; raises RejectedError if it has ended."""
        pause = 1.0
        while True:
            try:
                return self.ask(name, **fields)
            except TimeoutError:
                pass
            except RejectedError as error:
                if str(error) in ENDED and self.fault != "repeats itself for ever":
                    raise
                if self.fault == "hammers":
                    continue
            time.sleep(pause)
            pause = min(2 * pause, 30.0)

    # The executions

    def run(self) -> None:
        self.connect()
        saved = json.loads(self.state.read_text()) if self.state.exists() else {}
        if saved.get("status") and (
            self.fault in ("reports for another", "repeats itself for ever")
            or self.is_pending(saved)
        ):
            self.report(saved, saved["status"])
        if self.fault == "never asks at its start":
            self.connected.wait()
            self.changed.clear()
            self.changed.wait()
        if self.fault == "trusts events":
            self.do_what_events_bring()
        pause = 1.0
        while True:
            self.changed.clear()
            if self.fault in ("believes the list", "takes several at a time"):
                self.do_what_is_listed()
            elif execution := self.next_execution():
                self.carry_out(execution)
                pause = 1.0
                continue
            # An event may come before its execution can be read, and an event may be lost.
            if self.changed.wait(None if self.fault in UNTIL_EVENT else pause):
                pause = 1.0
            else:
                pause = min(2 * pause, ASK_AGAIN)

    def next_execution(self) -> Execution:
        """The next execution to do, or {}."""
        if self.fault in ("takes the newest first", "forgets what it was at"):
            listed = self.listed()
            execution = self.describe(listed[-1 if "newest" in self.fault else 0]) if listed else {}
        else:
            execution = self.insist("$next/get").get("execution", {})
        return {} if self.key(execution) in self.done else execution

    def listed(self) -> list[str]:
        body = self.insist("get")
        executions = body["queuedJobs"]
        if self.fault != "forgets what it was at":
            executions = body["inProgressJobs"] + executions
        return [execution["jobId"] for execution in executions]

    def describe(self, job_id: str) -> Execution:
        execution: Execution = self.insist(f"{job_id}/get")["execution"]
        return execution

    def key(self, execution: Execution) -> str:
        """What tells executions apart that are not to be done again."""
        if not execution or self.fault not in REMEMBERING:
            return str(time.monotonic())
        names = ["jobId"]
        if self.fault == "remembers jobs":
            names += ["executionNumber", "jobDocument"]
        return json.dumps([execution[name] for name in names])

    def do_what_events_bring(self) -> None:
        while execution := self.next_execution():
            self.carry_out(execution)
        while True:
            if execution := self.events.get():
                self.carry_out(execution)

    def do_what_is_listed(self) -> None:
        executions = [self.describe(job_id) for job_id in self.listed()]
        if self.fault == "takes several at a time":
            workers = [threading.Thread(target=self.carry_out, args=[one]) for one in executions]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        else:
            for execution in executions:
                self.carry_out(execution)
            NEVER.wait()

    def carry_out(self, execution: Execution) -> None:
        """Do an execution, and report its outcome."""
        if self.fault in ("forgets what it was at", "repeats itself for ever"):
            self.insist(f"{execution['jobId']}/update", status="IN_PROGRESS")
        if self.fault in ("begins with each event", "works beside"):
            self.work_beside(execution)
            return
        status = self.work(execution)
        if status:
            self.report(execution, status)

    def work_beside(self, execution: Execution) -> None:
        """Do it in a thread; return when it has ended or, by the fault, before."""

        def work() -> None:
            if status := self.work(execution):
                self.report(execution, status)

        worker = threading.Thread(target=work)
        worker.start()
        while worker.is_alive():
            worker.join(STEP)
            if self.changed.is_set():
                self.changed.clear()
                if self.fault == "begins with each event" or not self.is_pending(execution):
                    return

    def work(self, execution: Execution) -> str:
        """Do the work; the status, or "" if the execution has ended meanwhile."""
        self.done.add(self.key(execution))
        document = execution["jobDocument"]
        if self.fault == "remembers outcomes" and execution["jobId"] in self.outcomes:
            return self.outcomes[execution["jobId"]]
        match document.get("operation"):
            case "sleep" | "fail" as operation:
                if not self.sleep(execution, document.get("seconds", 0)):
                    return ""
                if operation == "sleep" or self.fault == "succeeds in everything":
                    return "SUCCEEDED"
                if self.fault == "dies of a failure":
                    self.report(execution, "FAILED")
                    os._exit(1)
                return "FAILED"
            case "restart":
                return self.restart(execution)
        if self.fault == "hangs on the unknown":
            NEVER.wait()
        return "FAILED" if self.fault == "fails the unknown" else "REJECTED"

    def sleep(self, execution: Execution, seconds: float) -> bool:
        """Work; False if the execution has ended meanwhile."""
        self.at_work = True
        end = time.monotonic() + (0 if self.fault == "ignores seconds" else seconds)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, STEP))
            if self.fault not in DEAF and self.changed.is_set():
                self.changed.clear()
                if not self.is_pending(execution):
                    self.changed.set()
                    break
        self.at_work = False
        return left <= 0

    def is_pending(self, execution: Execution) -> bool:
        try:
            found = self.ask(f"{execution['jobId']}/get")["execution"]
        except RejectedError as error:
            return str(error) not in ENDED
        except TimeoutError:
            return True
        return all(found[name] == execution[name] for name in ("executionNumber", "queuedAt"))

    def restart(self, execution: Execution) -> str:
        """Restart the device, here by the end of the program; afterwards, the status."""
        mark = {name: execution[name] for name in ("jobId", "executionNumber", "queuedAt")}
        saved = json.loads(self.state.read_text()) if self.state.exists() else {}
        if saved == mark and self.fault != "restarts for ever":
            return "FAILED" if self.fault == "fails after the restart" else "SUCCEEDED"
        self.state.write_text(json.dumps(mark))
        os._exit(0)

    def report(self, execution: Execution, status: str) -> None:
        """Report an outcome, and again after a restart, until AWS IoT has answered."""
        self.outcomes[execution["jobId"]] = status
        names = ("jobId", "executionNumber", "queuedAt")
        report = {name: execution[name] for name in names} | {"status": status}
        self.state.write_text(json.dumps(report))
        name = f"{execution['jobId']}/update"
        fields = {"status": status, "executionNumber": execution["executionNumber"]}
        if self.fault == "reports twice":
            threading.Timer(
                5, self.client.publish, [self.topics + name, json.dumps(fields)]
            ).start()
        if self.fault == "forgets its reports":
            if self.connected.is_set():
                self.client.publish(self.topics + name, json.dumps(fields))
            time.sleep(0.5)
        else:
            try:
                self.insist(name, **fields)
            except RejectedError:
                if self.fault == "ignores one rejection":
                    NEVER.wait()
        if self.fault != "repeats itself for ever":
            self.state.unlink(missing_ok=True)


if __name__ == "__main__":
    assert sys.argv[1] in FAULTS
    Device(sys.argv[1], Path(sys.argv[2])).run()
