"""A right device on IotJobsClientV2 of the AWS IoT Device SDK, with ``get`` and updates.

    sdk_device.py STATE_FILE

It connects by its ``IOT_…`` environment with MQTT 5 and a new session each time, takes the oldest
execution that GetPendingJobExecutions lists, and knows the job documents of
docs/testing-a-device.md.
"""

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from awscrt import mqtt5
from awscrt.mqtt_request_response import ClientOptions
from awsiot import ServiceStreamOptions, V2ServiceException, iotjobs, mqtt5_client_builder

ENDED = ("InvalidStateTransition", "TerminalStateReached", "ResourceNotFound")


class Device:
    """The device."""

    def __init__(self, state: Path) -> None:
        # The execution that was begun, with the status to report when the work is done.
        self.state = state
        self.thing = os.environ["IOT_THING"]
        # Set by each event, each connection and each new subscription.
        self.changed = threading.Event()
        self.client = mqtt5_client_builder.mtls_from_path(
            os.environ["IOT_CERT"],
            os.environ["IOT_KEY"],
            endpoint=os.environ["IOT_ENDPOINT"],
            port=int(os.environ["IOT_PORT"]),
            ca_filepath=os.environ.get("IOT_CA_FILE"),
            client_id=os.environ["IOT_CLIENT_ID"],
            keep_alive_interval_sec=30,
            min_reconnect_delay_ms=1000,
            max_reconnect_delay_ms=30_000,
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.DECORRELATED,
            on_lifecycle_connection_success=self.wake,
        )
        self.jobs = iotjobs.IotJobsClientV2(self.client, ClientOptions(10, 2, 5))
        self.streams = [
            create(
                request(thing_name=self.thing),
                ServiceStreamOptions(self.wake, self.wake, self.wake),
            )
            for create, request in (
                (
                    self.jobs.create_job_executions_changed_stream,
                    iotjobs.JobExecutionsChangedSubscriptionRequest,
                ),
                (
                    self.jobs.create_next_job_execution_changed_stream,
                    iotjobs.NextJobExecutionChangedSubscriptionRequest,
                ),
            )
        ]

    def wake(self, _: Any) -> None:
        self.changed.set()

    def run(self) -> None:
        self.client.start()
        for stream in self.streams:
            stream.open()
        pause = 1.0
        while True:
            self.changed.clear()
            if execution := self.next_execution():
                self.carry_out(execution)
                pause = 1.0
            # An event may come before its execution can be read, and an event may be lost.
            elif self.changed.wait(pause):
                pause = 1.0
            else:
                pause = min(2 * pause, 60.0)

    def insist(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is a response; raises V2ServiceException if the execution has ended."""
        pause = 1.0
        while True:
            try:
                return ask().result(30)
            except V2ServiceException as error:
                if error.modeled_error and error.modeled_error.code in ENDED:
                    raise
            except Exception as error:  # the SDK has many
                print("no response:", error, flush=True)
            time.sleep(pause * random.uniform(1.0, 1.5))
            pause = min(2 * pause, 60.0)

    def next_execution(self) -> Any:
        """The oldest execution, one in progress first, with its document; None if there is none."""
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self.thing)
        listed = self.insist(lambda: self.jobs.get_pending_job_executions(request))
        for summary in [*listed.in_progress_jobs, *listed.queued_jobs]:
            try:
                return self.describe(summary.job_id)
            except V2ServiceException:
                # It has ended since.
                self.changed.set()
        return None

    def describe(self, job_id: str) -> Any:
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self.thing, job_id=job_id, include_job_document=True
        )
        return self.insist(lambda: self.jobs.describe_job_execution(request)).execution

    def update(self, execution: Any, status: str) -> bool:
        """Report a status; whether AWS IoT has accepted it."""
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self.thing,
            job_id=execution.job_id,
            execution_number=execution.execution_number,
            status=status,
        )
        try:
            self.insist(lambda: self.jobs.update_job_execution(request))
        except V2ServiceException:
            return False
        return True

    def carry_out(self, execution: Any) -> None:
        key = [execution.job_id, execution.execution_number, execution.queued_at.timestamp()]
        saved = json.loads(self.state.read_text()) if self.state.exists() else {}
        status = saved["status"] if saved.get("key") == key else ""
        if not status:
            if not self.update(execution, "IN_PROGRESS"):
                return
            status = self.work(execution, key)
        if status:
            self.state.write_text(json.dumps({"key": key, "status": status}))
            self.update(execution, status)
        self.state.unlink(missing_ok=True)

    def work(self, execution: Any, key: list[Any]) -> str:
        """Do the work; the status, or "" if the execution has ended meanwhile."""
        document = execution.job_document
        operation = document.get("operation")
        if operation == "restart":
            # The restart is all there is to do, so it can be reported after it.
            self.state.write_text(json.dumps({"key": key, "status": "SUCCEEDED"}))
            os._exit(0)
        if operation not in ("sleep", "fail"):
            return "REJECTED"
        end = time.monotonic() + document.get("seconds", 0)
        while (left := end - time.monotonic()) > 0:
            if self.changed.wait(left):
                self.changed.clear()
                if not self.is_pending(execution):
                    return ""
        return "SUCCEEDED" if operation == "sleep" else "FAILED"

    def is_pending(self, execution: Any) -> bool:
        try:
            found = self.describe(execution.job_id)
        except V2ServiceException:
            self.changed.set()
            return False
        return bool(
            found.queued_at == execution.queued_at
            and found.execution_number == execution.execution_number
        )


if __name__ == "__main__":
    Device(Path(sys.argv[1])).run()
