"""A small device that does everything right but for one fault: what the scenarios of examples/ are held against.

    faulty.py FAULT STATE_FILE

FAULT is one of `FAULTS`. It joins by its ``IOT_…`` environment, and knows the operations of the scenarios' documents.
"""

import json
import os
import queue
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions
from awsiot import ServiceStreamOptions, V2ServiceException, iotjobs, mqtt5_client_builder

FAULTS = {
    "none": "it has none: what shows that it is the faults that fail",
    "waits for news": "never asks at its start",
    "trusts notify-next": "begins only what a NextJobExecutionChanged event brings",
    "asks once": "never listens",
    "all at once": "begins whatever is listed, side by side",
    "the newest first": "takes the last one of the list",
    "believes the list": "does what it was shown, and is deaf until that is done and tidied up",
    "succeeds in everything": "reports SUCCEEDED whatever became of it",
    "dies of a failure": "ends when a job fails",
    "hangs on the unknown": "waits for ever when it does not know a document",
    "fails the unknown": "says FAILED, not REJECTED, of a document that it does not know",
    "forgets what it was at": "takes up QUEUED executions alone",
    "repeats itself for ever": "sends an outcome again until it is accepted, also one that is refused",
    "ignores cancellation": "works to the end, whatever became of the execution",
    "remembers ids": "does no id twice, and reports again what it reported of it",
    "reports twice": "sends each outcome once more three seconds later",
}


class Device:
    """A device with a fault."""

    def __init__(self, fault: str, state: Path) -> None:
        self.fault = fault
        self.state = state  # an outcome that was not accepted, as far as it knows
        self.news: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcomes: dict[str, str] = {}
        self.thing = os.environ["IOT_THING"]
        self.client = mqtt5_client_builder.mtls_from_path(
            os.environ["IOT_CERT"],
            os.environ["IOT_KEY"],
            endpoint=os.environ["IOT_ENDPOINT"],
            port=int(os.environ["IOT_PORT"]),
            ca_filepath=os.environ.get("IOT_CA_FILE"),
            client_id=os.environ["IOT_CLIENT_ID"],
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
        )
        self.jobs = iotjobs.IotJobsClientV2(self.client, ClientOptions(10, 2, 5))
        self.streams: list[Any] = []

    def run(self) -> None:
        self.client.start()
        if self.fault != "asks once":
            self.listen()
        if self.state.exists():
            job_id, status = json.loads(self.state.read_text())
            self.send(job_id, status)
        if self.fault not in ("waits for news", "trusts notify-next"):
            self.news.put(None)
        while True:
            event = self.news.get()
            if self.fault == "trusts notify-next":
                if event and event.execution:
                    self.begin(event.execution)
                    self.carry_out(event.execution)
            else:
                self.work()

    def listen(self) -> None:
        """Open both streams, and wait for their subscriptions."""
        subscribed: queue.SimpleQueue[None] = queue.SimpleQueue()
        only_next = self.fault == "trusts notify-next"
        for create, request, ignored in (
            (
                self.jobs.create_job_executions_changed_stream,
                iotjobs.JobExecutionsChangedSubscriptionRequest,
                only_next,
            ),
            (
                self.jobs.create_next_job_execution_changed_stream,
                iotjobs.NextJobExecutionChangedSubscriptionRequest,
                False,
            ),
        ):
            on_event = (lambda _: None) if ignored else self.news.put
            options = ServiceStreamOptions(on_event, lambda _: subscribed.put(None), lambda _: None)
            self.streams.append(create(request(thing_name=self.thing), options))
            self.streams[-1].open()
        for _ in self.streams:
            subscribed.get()

    def work(self) -> None:
        """Do what is pending, until nothing is."""
        if self.fault in (
            "all at once",
            "the newest first",
            "believes the list",
            "forgets what it was at",
        ):
            self.work_by_the_list()
            return
        while execution := self.next():
            self.carry_out(execution)

    def next(self) -> Any:
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self.thing)
        return ask(self.jobs.start_next_pending_job_execution(request)).execution

    def work_by_the_list(self) -> None:
        """Do what GetPendingJobExecutions lists."""
        while executions := self.listed():
            for execution in executions:
                self.begin(execution)
            if self.fault == "all at once":
                workers = [
                    threading.Thread(target=self.carry_out, args=(execution,))
                    for execution in executions
                ]
                for worker in workers:
                    worker.start()
                for worker in workers:
                    worker.join()
            else:
                for execution in executions:
                    self.carry_out(execution)
            if self.fault == "believes the list":
                time.sleep(0.5)
                while not self.news.empty():
                    self.news.get()
                return

    def listed(self) -> list[Any]:
        """What is listed, as far as it minds that, with the documents."""
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self.thing)
        answer = ask(self.jobs.get_pending_job_executions(request))
        pending = answer.queued_jobs
        if self.fault != "forgets what it was at":
            pending = answer.in_progress_jobs + pending
        if self.fault == "the newest first":
            pending = pending[-1:]
        return [self.describe(summary.job_id) for summary in pending]

    def describe(self, job_id: str) -> Any:
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self.thing, job_id=job_id, include_job_document=True
        )
        return ask(self.jobs.describe_job_execution(request)).execution

    def begin(self, execution: Any) -> None:
        self.update(execution.job_id, "IN_PROGRESS")

    def carry_out(self, execution: Any) -> None:
        """Do one job, and report its outcome."""
        job_id = execution.job_id
        if self.fault == "remembers ids" and job_id in self.outcomes:
            status: str | None = self.outcomes[job_id]
        else:
            status = self.do(job_id, execution.job_document)
        if status is None:
            return  # canceled
        if self.fault == "succeeds in everything":
            status = "SUCCEEDED"
        self.outcomes[job_id] = status
        self.state.write_text(json.dumps([job_id, status]))
        self.send(job_id, status)
        if self.fault == "reports twice":
            threading.Timer(3, self.send, (job_id, status)).start()
        if self.fault == "dies of a failure" and status == "FAILED":
            sys.exit(1)

    def do(self, job_id: str, document: Any) -> str | None:
        """The work; the outcome, or None if the execution has ended before."""
        match document:
            case {"operation": "sleep" | "fail" as operation, **options}:
                end = time.monotonic() + float(str(options.get("seconds", 0)))
                while (left := end - time.monotonic()) > 0:
                    time.sleep(min(left, 0.1))
                    if (
                        self.fault not in ("ignores cancellation", "trusts notify-next")
                        and not self.news.empty()
                    ):
                        self.news.get()
                        try:
                            self.describe(job_id)
                        except V2ServiceException:
                            self.news.put(None)
                            return None
                return "SUCCEEDED" if operation == "sleep" else "FAILED"
            case _:
                if self.fault == "hangs on the unknown":
                    threading.Event().wait()
                return "FAILED" if self.fault == "fails the unknown" else "REJECTED"

    def send(self, job_id: str, status: str) -> None:
        """Report an outcome, and again if it was refused and that is its fault."""
        while True:
            try:
                self.update(job_id, status)
            except V2ServiceException:
                if self.fault == "repeats itself for ever":
                    time.sleep(0.5)
                    continue
            break
        if self.fault != "repeats itself for ever":  # it would, with the next outcome
            self.state.unlink(missing_ok=True)

    def update(self, job_id: str, status: str) -> None:
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self.thing, job_id=job_id, status=status
        )
        ask(self.jobs.update_job_execution(request))


def ask(answer: "Future[Any]") -> Any:
    return answer.result(10)


if __name__ == "__main__":
    assert sys.argv[1] in FAULTS
    Device(sys.argv[1], Path(sys.argv[2])).run()
