"""The promise of an answer."""

from jobs_sandbox.blocks import Block, Pending


def test_pending_answer() -> None:
    """A pending request is a future that ends in an answer."""
    pending = Pending()
    answer = Block("T", {"a": 1})
    pending.set_result(answer)
    assert pending.result(0) == answer
    assert (answer.payload, answer.note, pending.label) == (b"", "", "")


def test_unanswered() -> None:
    """A request without an answer may have been carried out."""
    error = Pending().unanswered(6.0)
    assert error.message == "no answer within 6 s"
    assert error.uncertain
