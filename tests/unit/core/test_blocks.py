"""Blocks of output."""

from jobs_sandbox.core.blocks import Block


def test_notes() -> None:
    """A further note stands before the one that a block has."""
    block = Block("Title", {}).with_note("odd").with_note("late")
    assert block == Block("Title", {}, note="late; odd")
