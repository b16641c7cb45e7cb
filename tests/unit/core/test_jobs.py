"""Job ids and thing names as AWS IoT takes them."""

import pytest

from jobs_sandbox.core.jobs import is_job_id, is_thing_name


@pytest.mark.parametrize(
    ("text", "job_id", "thing_name"),
    [
        ("a_B-9", True, True),
        ("a:b", False, True),
        ("x" * 65, False, True),
        ("x" * 129, False, False),
        ("a/b", False, False),
        ("a\n", False, False),
    ],
)
def test_names(text: str, *, job_id: bool, thing_name: bool) -> None:
    """A text that means something else in a topic is neither a job id nor a thing name."""
    assert (is_job_id(text), is_thing_name(text)) == (job_id, thing_name)
