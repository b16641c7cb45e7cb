"""The same work with boto3 and awsiotsdk alone, to compare the program with.

    bare.py <endpoint> <cert> <key> <region> <thing> --port N --ca-file PATH --endpoint-url URL
            [--requests N] [--no-flow-control] [--listen]

It ensures the thing, connects over mTLS MQTT5, opens both streams, makes N requests
get-pending-job-executions and prints the answers. With ``--listen`` it then prints one line for
each event until its input ends.
"""

import argparse
import sys
import threading
import uuid
from typing import Any

import awsiot
import boto3
from awscrt import mqtt5, mqtt_request_response
from awsiot import iotjobs, mqtt5_client_builder


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("endpoint", "cert", "key", "region", "thing"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    parser.add_argument("--ca-file")
    parser.add_argument("--endpoint-url")
    parser.add_argument("--timeout")  # of the program; it has no meaning here
    parser.add_argument("--requests", type=int, default=1)
    parser.add_argument("--no-flow-control", action="store_true")
    parser.add_argument("--listen", action="store_true")
    options = parser.parse_args()

    iot = boto3.client("iot", region_name=options.region, endpoint_url=options.endpoint_url)
    try:
        iot.describe_thing(thingName=options.thing)
    except iot.exceptions.ResourceNotFoundException:
        iot.create_thing(thingName=options.thing)

    connected, stopped = threading.Event(), threading.Event()
    flow_control = (
        mqtt5.ExtendedValidationAndFlowControlOptions.NONE if options.no_flow_control else None
    )
    client = mqtt5_client_builder.mtls_from_path(
        options.cert,
        options.key,
        endpoint=options.endpoint,
        port=options.port,
        ca_filepath=options.ca_file,
        client_id=f"test-{uuid.uuid4()}",
        extended_validation_and_flow_control_options=flow_control,
        on_lifecycle_connection_success=lambda _: connected.set(),
        on_lifecycle_stopped=lambda _: stopped.set(),
    )
    client.start()
    assert connected.wait(10)
    jobs = iotjobs.IotJobsClientV2(
        client,
        mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=4,
            max_streaming_subscriptions=2,
            operation_timeout_in_seconds=5,
        ),
    )

    def stream(create: Any, request: Any) -> Any:
        standing = threading.Event()
        operation = create(
            request,
            awsiot.ServiceStreamOptions(
                incoming_event_listener=lambda event: print(
                    type(event).__name__, event, flush=True
                ),
                subscription_status_listener=lambda _: standing.set(),
            ),
        )
        operation.open()
        return operation, standing

    streams = [
        stream(
            jobs.create_job_executions_changed_stream,
            iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=options.thing),
        ),
        stream(
            jobs.create_next_job_execution_changed_stream,
            iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=options.thing),
        ),
    ]
    assert all(standing.wait(10) for _, standing in streams)

    for _ in range(options.requests):
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=options.thing)
        print(jobs.get_pending_job_executions(request).result(10), flush=True)
    if options.listen:
        print("listening", flush=True)
        sys.stdin.read()
    client.stop()
    stopped.wait(10)


if __name__ == "__main__":
    main()
