"""Requests and their answers: matched, rejected, late, lost, unreadable; and the SDK's opinion on them."""

import asyncio
import gc
import json
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from awscrt.exceptions import AwsCrtError
from awsiot import V2ServiceException, iotjobs

from jobs_sandbox.core.blocks import REJECTED, Block
from jobs_sandbox.core.errors import Rejected, RequestFailed
from jobs_sandbox.core.protocols import Show
from jobs_sandbox.data_plane.client import DataPlane
from tests.unit.data_plane.fakes import JOBS, FakeListener, FakeSdk, asynchronous, settle, started

TOKEN = "token-0000"
Ask = Callable[[DataPlane, Show], Coroutine[Any, Any, Block]]

REQUESTS: dict[str, tuple[Ask, str, str, str, str]] = {
    "get_pending_job_executions": (
        lambda data, deliver: data.get_pending_job_executions(deliver),
        "GetPendingJobExecutionsResponse",
        "GetPendingJobExecutionsRequest",
        "get",
        "get",
    ),
    "start_next_pending_job_execution": (
        lambda data, deliver: data.start_next_pending_job_execution(deliver, {}),
        "StartNextJobExecutionResponse",
        "StartNextPendingJobExecutionRequest",
        "start-next",
        "start-next",
    ),
    "describe_job_execution": (
        lambda data, deliver: data.describe_job_execution(deliver, "Job1", {}),
        "DescribeJobExecutionResponse",
        "DescribeJobExecutionRequest",
        "Job1/get",
        "*/get",
    ),
    "update_job_execution": (
        lambda data, deliver: data.update_job_execution(deliver, "Job1", "FAILED", {}),
        "UpdateJobExecutionResult",
        "UpdateJobExecutionRequest",
        "Job1/update",
        "*/update",
    ),
}
every_request = pytest.mark.parametrize("operation", REQUESTS)


class Asked:
    """A request under way, and what was delivered of it."""

    def __init__(
        self,
        data: DataPlane,
        operation: str = "get_pending_job_executions",
        log: list[object] | None = None,
    ) -> None:
        self.delivered: list[Block] = []
        self._log = log
        self.task = asyncio.ensure_future(REQUESTS[operation][0](data, self._deliver))

    def _deliver(self, block: Block) -> None:
        assert (
            not self.task.done() or self.task.cancelled() or self.task.exception()
        )  # nobody wakes up before it
        self.delivered.append(block)
        if self._log is not None:
            self._log.append(block)

    async def result(self) -> Block:
        await settle()
        assert self.task.done()
        return self.task.result()

    async def failure(self) -> Any:
        await settle()
        assert self.task.done()
        return self.task.exception()

    async def refused(self) -> RequestFailed:
        error = await self.failure()
        assert type(error) is RequestFailed
        assert self.delivered == []
        return error


async def ask(data: DataPlane, operation: str = "get_pending_job_executions") -> Asked:
    asked = Asked(data, operation)
    await settle()
    return asked


# Answers


@every_request
@asynchronous
async def test_requests(sdk: FakeSdk, listener: FakeListener, operation: str) -> None:
    """Each request is the SDK's operation of that name, and its answer carries the title of the spec."""
    _, title, shape, topic, _ = REQUESTS[operation]
    async with started(listener) as data:
        asked = await ask(data, operation)
        [(called, request, _)] = sdk.asked
        assert (called, type(request).__name__, request.thing_name) == (operation, shape, "Thing")
        assert getattr(request, "job_id", "Job1") == "Job1"
        assert getattr(request, "status", "FAILED") == "FAILED"
        payload = sdk.answers(f"{topic}/accepted", odd=1)
        block = await asked.result()
        assert (block.title, block.payload, block.note) == (title, payload, "")
        assert block.body is not None
        assert block.body.items() >= {"clientToken": TOKEN, "odd": 1}.items()
        assert asked.delivered == [block]
        assert listener.events == []


FIELDS = {
    "statusDetails": {"at": "5 %"},
    "expectedVersion": 3,
    "executionNumber": 2,
    "includeJobExecutionState": True,
    "includeJobDocument": False,
    "stepTimeoutInMinutes": -1,
}


@asynchronous
async def test_fields(sdk: FakeSdk, listener: FakeListener) -> None:
    """Optional fields are sent under the very names that AWS gives them, and none of them is lost."""
    start_next = {name: FIELDS[name] for name in ("statusDetails", "stepTimeoutInMinutes")}
    describe = {name: FIELDS[name] for name in ("executionNumber", "includeJobDocument")}
    async with started(listener) as data:
        for request in (
            data.start_next_pending_job_execution(list[Block]().append, start_next),
            data.describe_job_execution(list[Block]().append, "Job1", describe),
            data.update_job_execution(list[Block]().append, "Job1", "FAILED", FIELDS),
        ):
            asyncio.ensure_future(request)  # noqa: RUF006 - it ends with the loop
            await settle()
        sent = [request.to_payload() for _, request, _ in sdk.asked]
    token = [{"clientToken": f"token-{number:04}"} for number in range(3)]
    assert sent == [
        start_next | token[0],
        describe | token[1],
        FIELDS | {"status": "FAILED"} | token[2],
    ]


@asynchronous
async def test_order_of_arrival(sdk: FakeSdk, listener: FakeListener) -> None:
    """An answer is delivered before the events that come after it, however soon, and after those before it."""
    async with started(listener) as data:
        asked = Asked(data, log=listener.log)
        await settle()
        sdk.arrives(b'{"timestamp": 1}')
        sdk.answers("get/accepted")
        sdk.arrives(b'{"timestamp": 2}')
        await asked.result()
        assert [getattr(block, "body", {}).get("timestamp") for block in listener.log] == [
            1,
            None,
            2,
        ]


@asynchronous
async def test_each_has_its_own_answer(sdk: FakeSdk, listener: FakeListener) -> None:
    """Answers to several requests on one topic are told apart by their tokens, whatever their order."""
    async with started(listener) as data:
        first, second = await ask(data), await ask(data)
        sdk.answers("get/accepted", 1, odd=2)
        sdk.answers("get/accepted", 0, odd=1)
        assert [(await asked.result()).body or {} for asked in (first, second)] == [
            {"clientToken": "token-0000", "odd": 1},
            {"clientToken": "token-0001", "odd": 2},
        ]


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "InvalidRequest", "message": "no", "odd": 1},
        {"code": "C", "message": "m", "timestamp": "now"},
        {"code": "C", "message": "m", "timestamp": 1e300},
        {"code": "C", "message": "m", "executionState": "x"},
        {"code": 5, "message": ["m"]},
        {},
    ],
)
@asynchronous
async def test_rejected(sdk: FakeSdk, listener: FakeListener, fields: dict[str, object]) -> None:
    """What comes on the rejected topic is a rejection, whatever else is wrong with it, and all of it is shown."""
    async with started(listener) as data:
        asked = await ask(data, "update_job_execution")
        sdk.ends(TypeError("what the SDK makes of some of these"))
        payload = sdk.answers("Job1/update/rejected", **fields)
        rejected = await asked.failure()
        assert isinstance(rejected, Rejected)
        assert rejected.body == {"clientToken": TOKEN} | fields
        assert rejected.payload == payload
        [block] = asked.delivered
        assert (block.title, block.body) == (REJECTED, rejected.body)


@asynchronous
async def test_accepted_in_the_shape_of_a_rejection(sdk: FakeSdk, listener: FakeListener) -> None:
    """What comes on the accepted topic is an answer, even if it looks like a rejection."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.answers("get/accepted", code="InvalidRequest", message="no")
        assert (await asked.result()).title == "GetPendingJobExecutionsResponse"


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
@pytest.mark.parametrize(
    "payload",
    [
        b'{"clientToken": "token-0000", "x": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"clientToken": "token-0000", "cut',
        b'{"clientToken": "token-0000", "x": "\xff"}',
        b'[{"clientToken": "token-0000"}]',
    ],
)
@asynchronous
async def test_unreadable_answer(
    sdk: FakeSdk, listener: FakeListener, payload: bytes, outcome: str
) -> None:
    """An answer that cannot be read, but names its request, is the answer, shown as it came."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.arrives(payload, f"get/{outcome}")
        await settle()
        assert asked.task.done()
        assert (asked.task.exception() is None) == (outcome == "accepted")
        [block] = asked.delivered
        assert (block.body, block.payload) == (None, payload)
        assert "not what AWS IoT Jobs documents" in block.note
        assert listener.events == []


# The SDK's futures tell of failures only


MODELED = V2ServiceException("failure", None, iotjobs.V2ErrorResponse())


@pytest.mark.parametrize("opinion", [None, TypeError("odd"), MODELED])
@pytest.mark.parametrize("first", [True, False], ids=["opinion first", "message first"])
@asynchronous
async def test_opinion_of_the_sdk(
    sdk: FakeSdk,
    listener: FakeListener,
    opinion: Exception | None,
    first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Whatever the SDK makes of an answer, and whichever comes first, the message is the answer."""

    def sdk_is_done() -> None:
        if opinion is None:
            sdk.asked[0][2].set_result(iotjobs.GetPendingJobExecutionsResponse())
        elif opinion is MODELED:
            sdk.asked[0][2].set_exception(opinion)
        else:
            sdk.ends(opinion)

    async with started(listener) as data:
        asked = await ask(data)
        if first:
            sdk_is_done()
            await settle()
            assert not asked.task.done()
        sdk.answers("get/accepted")
        if not first:
            sdk_is_done()
        await asked.result()
        assert len(asked.delivered) == 1
        assert sdk.subscribed == []


@asynchronous
async def test_message_before_a_failure(sdk: FakeSdk, listener: FakeListener) -> None:
    """A failure that the SDK reports after the message is none."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.answers("get/accepted")
        sdk.fails("TIMEOUT")
        await asked.result()
        assert sdk.subscribed == []


@pytest.mark.parametrize("claims", [True, False])
@asynchronous
async def test_time_is_kept(sdk: FakeSdk, listener: FakeListener, claims: bool) -> None:  # noqa: FBT001
    """A request ends in time though the SDK says nothing, or that an answer came which never did."""
    async with started(listener) as data:
        data._requests._timeout = 0.01
        asked = await ask(data)
        if claims:
            sdk.asked[0][2].set_result(iotjobs.GetPendingJobExecutionsResponse())
        with pytest.raises(RequestFailed, match=r"no answer within 0\.01 s"):
            await asyncio.wait_for(asked.task, 30)
        if not claims:
            sdk.fails("TIMEOUT")  # its own timer is later, and no news
        await settle()
        assert sdk.subscribed == [f"{JOBS}get/accepted", f"{JOBS}get/rejected"]


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("x"), AwsCrtError(1, "N", "m")])
@asynchronous
async def test_refused_by_the_sdk(sdk: FakeSdk, listener: FakeListener, error: Exception) -> None:
    """A request that the SDK does not take has failed, certainly."""
    async with started(listener) as data:
        sdk.send_error = error
        refused = await (await ask(data)).refused()
        assert "the device SDK refused the request" in refused.message
        assert not refused.uncertain


# Failures, and answers that come after all


@every_request
@asynchronous
async def test_timed_out(sdk: FakeSdk, listener: FakeListener, operation: str) -> None:
    """A time-out is uncertain and says what would explain it; the answer is still listened for, and delivered late."""
    _, title, _, topic, policy_topic = REQUESTS[operation]
    async with started(listener) as data:
        asked = await ask(data, operation)
        sdk.fails("TIMEOUT")
        timed_out = await asked.refused()
        assert timed_out.message == "no answer within 60 s"
        assert timed_out.uncertain
        assert f"iot:Receive on topic/{JOBS}{policy_topic}/* (the answer)" in timed_out.cause
        assert "iot:Publish" not in timed_out.cause  # a refused publish is answered
        assert sdk.subscribed == [f"{JOBS}{topic}/accepted", f"{JOBS}{topic}/rejected"]
        sdk.answers(f"{topic}/accepted")
        sdk.answers(f"{topic}/accepted")  # QoS 1: duplicates happen
        await settle()
        assert [block.title for block in asked.delivered] == [title]
        assert sdk.unsubscribed == sdk.subscribed
        assert listener.events == []


@asynchronous
async def test_late_rejection(sdk: FakeSdk, listener: FakeListener) -> None:
    """A late rejection is one; the other requests to that topic are still listened for."""
    async with started(listener) as data:
        first, second = await ask(data), await ask(data)
        sdk.fails("TIMEOUT", 0)
        sdk.fails("TIMEOUT", 1)
        sdk.answers("get/rejected", 0)
        await settle()
        assert [block.title for block in first.delivered] == [REJECTED]
        assert sdk.unsubscribed == []
        sdk.answers("get/accepted", 1)
        await settle()
        assert len(second.delivered) == 1
        assert sdk.unsubscribed == [f"{JOBS}get/accepted", f"{JOBS}get/rejected"]
        assert isinstance(await first.failure(), RequestFailed)
        assert isinstance(await second.failure(), RequestFailed)


@asynchronous
async def test_unanswered_requests_are_forgotten(sdk: FakeSdk, listener: FakeListener) -> None:
    """Of many requests without an answer, only the latest are listened for; one in flight is never forgotten."""
    async with started(listener) as data:
        in_flight = await ask(data)
        failed = []
        for number in range(15):
            failed.append(await ask(data, "describe_job_execution"))
            sdk.fails("TIMEOUT")
            assert await failed[number].refused()
        sdk.answers("Job1/get/accepted", 5)
        sdk.answers("Job1/get/accepted", 6)
        sdk.answers("get/accepted", 0)
        await settle()
        assert [len(asked.delivered) for asked in failed[:6]] == [0, 0, 0, 0, 0, 1]
        assert await in_flight.result()


@asynchronous
async def test_forgetting_unsubscribes(sdk: FakeSdk, listener: FakeListener) -> None:
    """What is forgotten is no longer subscribed to."""
    async with started(listener) as data:
        for number in range(12):
            asyncio.ensure_future(
                data.describe_job_execution(list[Block]().append, f"Job{number}", {})
            ).add_done_callback(lambda task: task.exception())
            await settle()
            sdk.fails("TIMEOUT")
            await settle()
    assert sdk.unsubscribed == sdk.subscribed[:4]


@asynchronous
async def test_nobody_waits(sdk: FakeSdk, listener: FakeListener) -> None:
    """When who asked no longer waits, the answer is delivered all the same, at once or after a failure."""
    async with started(listener) as data:
        first, second = await ask(data), await ask(data)
        for asked in (first, second):
            asked.task.cancel()
        sdk.answers("get/accepted", 0)
        sdk.fails("TIMEOUT", 1)
        sdk.answers("get/rejected", 1)
        await settle()
        assert [block.title for block in first.delivered] == ["GetPendingJobExecutionsResponse"]
        assert [block.title for block in second.delivered] == [REJECTED]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("PUBLISH_FAILURE", f"iot:Publish on topic/{JOBS}*/update"),
        ("SUBSCRIBE_FAILURE", f"iot:Subscribe on topicfilter/{JOBS}*/update/*"),
    ],
)
@asynchronous
async def test_not_permitted(sdk: FakeSdk, listener: FakeListener, name: str, missing: str) -> None:
    """A refused publish or subscription names the permission, is certain, and no answer is listened for."""
    async with started(listener) as data:
        asked = await ask(data, "update_job_execution")
        sdk.fails(name)
        refused = await asked.refused()
        assert refused.cause == f"no policy of the certificate allows {missing}"
        assert not refused.uncertain
        assert sdk.subscribed == []


@asynchronous
async def test_other_failure(sdk: FakeSdk, listener: FakeListener) -> None:
    """Any other failure of the SDK is quoted, and uncertain."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.fails("CLIENT_SHUT_DOWN")
        refused = await asked.refused()
        assert (
            refused.message
            == "the request failed: AWS_ERROR_MQTT_REQUEST_RESPONSE_CLIENT_SHUT_DOWN: words"
        )
        assert refused.uncertain


@pytest.mark.parametrize("name", ["TIMEOUT", "PUBLISH_FAILURE"])
@pytest.mark.parametrize(
    ("restored", "cause"),
    [(False, "the connection is down: hung up"), (True, "the connection was lost meanwhile")],
)
@asynchronous
async def test_failed_with_the_connection(
    sdk: FakeSdk,
    listener: FakeListener,
    name: str,
    restored: bool,  # noqa: FBT001 - a parameter of the test
    cause: str,
) -> None:
    """A request that was under way when the connection was lost fails for that, and is uncertain."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.lost()
        if restored:
            sdk.connected()
        sdk.fails(name, 0)
        refused = await asked.refused()
        assert refused.cause.startswith(cause)
        assert "repeat this when it has reconnected" in refused.next_step
        assert refused.uncertain


@asynchronous
async def test_asked_while_down(sdk: FakeSdk, listener: FakeListener) -> None:
    """A request that was made while the connection was down does not blame a policy."""
    async with started(listener) as data:
        sdk.lost()
        asked = await ask(data)
        sdk.connected()
        sdk.fails("SUBSCRIBE_FAILURE", 0)
        assert "the connection was lost meanwhile" in (await asked.refused()).cause


@asynchronous
async def test_asked_after_a_loss(sdk: FakeSdk, listener: FakeListener) -> None:
    """A loss before the request was made explains nothing."""
    async with started(listener) as data:
        sdk.lost()
        sdk.connected()
        await settle()
        asked = await ask(data)
        sdk.fails("TIMEOUT", 0)
        assert "iot:Receive" in (await asked.refused()).cause


@asynchronous
async def test_nothing_is_kept_of_an_answered_request(sdk: FakeSdk, listener: FakeListener) -> None:
    """An answered request leaves nothing behind, not even until its time would be up."""

    def deliver(block: Block) -> None:
        assert block.body

    kept = weakref.ref(deliver)
    async with started(listener) as data:
        waiting = asyncio.ensure_future(data.get_pending_job_executions(deliver))
        await settle()
        sdk.answers("get/accepted")
        await waiting
        sdk.asked.clear()
        del deliver, waiting
        await settle()
        gc.collect()
        assert kept() is None


# Messages that name no request of ours


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b"nonsense", None),
        (b"[1]", None),
        (b"[" * 100_000, None),
        (b"\xff", None),
        (b'{"odd": 1}', {"odd": 1}),
        (b'{"clientToken": 5}', {"clientToken": 5}),
    ],
)
@asynchronous
async def test_answer_that_names_no_request(
    sdk: FakeSdk, listener: FakeListener, payload: bytes, body: object
) -> None:
    """An answer without a token is shown when a request waits on its topic, be it late, and only then."""
    async with started(listener) as data:
        sdk.arrives(payload, "get/accepted")
        asked = await ask(data)
        sdk.arrives(payload, "Job1/get/accepted")
        await settle()
        assert listener.events == []
        sdk.arrives(payload, "get/rejected")
        sdk.arrives(payload, "get/accepted")
        sdk.fails("TIMEOUT")
        await settle()
        sdk.arrives(payload, "get/accepted")
        await settle()
        titles = [REJECTED, "GetPendingJobExecutionsResponse", "GetPendingJobExecutionsResponse"]
        assert [event.title for event in listener.events] == titles
        for event in listener.events:
            assert (event.body, event.payload) == (body, payload)
            assert "names no request" in event.note
        assert await asked.refused()


@asynchronous
async def test_answer_to_another_client(sdk: FakeSdk, listener: FakeListener) -> None:
    """An answer to another client of the same thing, or one that belongs to another topic, is none of ours."""
    async with started(listener) as data:
        asked = await ask(data)
        sdk.arrives(b'{"clientToken": "theirs"}', "get/accepted")
        sdk.arrives(json.dumps({"clientToken": TOKEN}).encode(), "Job1/get/accepted")
        await settle()
        assert (listener.events, asked.delivered, asked.task.done()) == ([], [], False)
        asked.task.cancel()
