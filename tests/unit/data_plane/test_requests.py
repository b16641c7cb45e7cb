"""Requests and their answers: matched, rejected, refused, unanswered."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from awsiot import V2ServiceException, iotjobs

from jobs_sandbox.core.blocks import DESCRIBE, GET_PENDING, REJECTED, START_NEXT, UPDATE, Block
from jobs_sandbox.core.errors import Rejected, RequestFailed
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import JOBS, FakeSdk, rr_error, settle

Task = asyncio.Task[Block]
FIELDS = {
    "statusDetails": {"at": "5 %"},
    "expectedVersion": 3,
    "executionNumber": 2,
    "includeJobExecutionState": True,
    "includeJobDocument": False,
    "stepTimeoutInMinutes": -1,
}


async def send(request: Coroutine[Any, Any, Block]) -> Task:
    """Send a request of the data plane."""
    task = asyncio.ensure_future(request)
    await settle()
    return task


async def send_update(sdk: FakeSdk, data: DataPlane) -> Task:
    return await send(data.update_job_execution(sdk.listener.show, "Job1", "FAILED", {}))


async def failure(task: Task) -> RequestFailed:
    with pytest.raises(RequestFailed) as raised:
        await task
    return raised.value


# Answers


@pytest.mark.parametrize(
    ("operation", "title", "topic", "arguments", "sent"),
    [
        ("get_pending_job_executions", GET_PENDING, "get", [], {}),
        (
            "start_next_pending_job_execution",
            START_NEXT,
            "start-next",
            [{"statusDetails": {"a": "b"}, "stepTimeoutInMinutes": 5}],
            {"statusDetails": {"a": "b"}, "stepTimeoutInMinutes": 5},
        ),
        (
            "describe_job_execution",
            DESCRIBE,
            "Job1/get",
            ["Job1", {"executionNumber": 2, "includeJobDocument": False}],
            {"executionNumber": 2, "includeJobDocument": False},
        ),
        (
            "update_job_execution",
            UPDATE,
            "Job1/update",
            ["Job1", "FAILED", FIELDS],
            FIELDS | {"status": "FAILED"},
        ),
    ],
)
async def test_requests(
    sdk: FakeSdk,
    data: DataPlane,
    *,
    operation: str,
    title: str,
    topic: str,
    arguments: list[Any],
    sent: dict[str, Any],
) -> None:
    """Each request is the SDK's operation, with AWS's own fields, and its answer has its title."""
    task = await send(getattr(data, operation)(sdk.listener.show, *arguments))
    [(called, request, _)] = sdk.asked
    shape = "".join(map(str.capitalize, operation.split("_"))) + "Request"
    assert (called, type(request).__name__, request.thing_name) == (operation, shape, "Thing")
    assert getattr(request, "job_id", "Job1") == "Job1"
    assert request.to_payload() == sent | {"clientToken": "token-0"}
    payload = sdk.answers(f"{topic}/accepted", odd=1)
    block = await task
    assert (block.title, block.payload, block.note) == (title, payload, "")
    assert (block.body or {})["odd"] == 1
    assert sdk.listener.blocks == [block]


async def test_order_of_arrival(sdk: FakeSdk, data: DataPlane) -> None:
    """An answer is shown between the events before and after it, before its task wakes."""

    def show(block: Block) -> None:
        assert not task.done()
        sdk.listener.show(block)

    task = await send(data.get_pending_job_executions(show))
    sdk.arrives(b'{"timestamp": 1}')
    sdk.answers("get/accepted", timestamp=2)
    sdk.arrives(b'{"timestamp": 3}')
    await task
    assert [(block.body or {})["timestamp"] for block in sdk.listener.blocks] == [1, 2, 3]


async def test_tokens(sdk: FakeSdk, data: DataPlane) -> None:
    """Tokens tell answers apart; duplicates and answers to other clients are not shown."""
    tasks = [await send_update(sdk, data) for _ in range(2)]
    sdk.arrives(b'{"clientToken": "theirs"}', "Job1/update/accepted")
    for number in (1, 1, 0):
        sdk.answers("Job1/update/accepted", number)
    bodies = [(await task).body or {} for task in tasks]
    assert [body["clientToken"] for body in bodies] == ["token-0", "token-1"]
    assert len(sdk.listener.blocks) == 2


@pytest.mark.parametrize(
    "fields",
    [{"code": "InvalidRequest", "message": "no", "odd": 1}, {"executionState": "x"}],
)
async def test_rejected(sdk: FakeSdk, data: DataPlane, fields: dict[str, object]) -> None:
    """A message on the rejected topic is a rejection, whatever else is wrong with it."""
    task = await send_update(sdk, data)
    sdk.ends(TypeError("the SDK cannot read it"))
    payload = sdk.answers("Job1/update/rejected", **fields)
    with pytest.raises(Rejected) as rejected:
        await task
    [block] = sdk.listener.blocks
    assert (block.title, block.body) == (REJECTED, {"clientToken": "token-0"} | fields)
    assert (rejected.value.body, rejected.value.payload) == (block.body, payload)


async def test_unreadable_answer(sdk: FakeSdk, data: DataPlane) -> None:
    """A message on the accepted topic is the answer, though neither we nor the SDK can read it."""
    task = await send_update(sdk, data)
    sdk.asked[0][2].set_exception(V2ServiceException("", None, iotjobs.V2ErrorResponse()))
    await settle()
    sdk.arrives(b'{"clientToken": "token-0", "cut', "Job1/update/accepted")
    block = await task
    assert (block.title, block.body) == (UPDATE, None)
    assert block.note


@pytest.mark.parametrize("cancelled", [True, False])
async def test_no_longer_awaited(sdk: FakeSdk, data: DataPlane, *, cancelled: bool) -> None:
    """Messages and failures after the answer, or after the caller has left, are ignored."""
    task = await send_update(sdk, data)
    if cancelled:
        task.cancel()
    for _ in range(2):
        sdk.answers("Job1/update/accepted")
    sdk.ends(rr_error("TIMEOUT"))
    await settle()
    sdk.answers("Job1/update/accepted")
    await settle()
    assert task.cancelled() == cancelled
    assert len(sdk.listener.blocks) == (0 if cancelled else 1)


# Failures


@pytest.mark.parametrize(
    ("error", "message", "cause"),
    [
        ("PUBLISH_FAILURE", "refused", f"iot:Publish on topic/{JOBS}*/update"),
        ("SUBSCRIBE_FAILURE", "refused", f"iot:Subscribe on topicfilter/{JOBS}*/update/*"),
        ("TIMEOUT", "no answer within 0 s", f"iot:Receive on topic/{JOBS}*/update/*"),
        ("CLIENT_SHUT_DOWN", "CLIENT_SHUT_DOWN: its message", ""),
    ],
)
async def test_failures(
    sdk: FakeSdk, data: DataPlane, *, error: str, message: str, cause: str
) -> None:
    """A request that the SDK gives up names the permission that is missing, or the SDK's error."""
    task = await send_update(sdk, data)
    sdk.ends(rr_error(error))
    failed = await failure(task)
    assert message in failed.message
    assert cause in failed.cause
    assert failed.uncertain == (message != "refused")


@pytest.mark.parametrize(
    ("restored", "cause"),
    [(False, "the connection is down"), (True, "the connection was lost meanwhile")],
)
async def test_failed_with_the_connection(
    sdk: FakeSdk, data: DataPlane, *, restored: bool, cause: str
) -> None:
    """A request that was in flight when the connection was lost does not blame a policy."""
    task = await send_update(sdk, data)
    sdk.lost()
    if restored:
        sdk.connected()
    sdk.ends(rr_error("SUBSCRIBE_FAILURE"))
    for failed in (await failure(task), data.no_answer(UPDATE, 60)):
        assert "no answer within" in failed.message
        assert failed.cause.startswith(cause)
        assert "after the reconnect" in failed.next_step
        assert failed.uncertain


async def test_no_answer(data: DataPlane) -> None:
    """Without trouble of the connection, the response's topic is named, which may be forbidden."""
    failed = data.no_answer(DESCRIBE, 2.5)
    assert failed.message == "no answer within 2.5 s"
    assert f"iot:Receive on topic/{JOBS}*/get/*" in failed.cause
    assert failed.uncertain
