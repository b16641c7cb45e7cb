"""Which scenarios are chosen, and what is read from them."""

from pathlib import Path

import pytest

from jobs_sandbox.check.scenarios import Line, choose, read
from jobs_sandbox.core.errors import UsageError

SCENARIO = """\
# Do the work once.
# group: connection
# slow
#
# Events may come twice.
# https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html

create-job Job1 {"operation": "sleep"}
# a comment
should expect Job1 SUCCEEDED 10
"""


def test_read(tmp_path: Path) -> None:
    """The head says what a device must do and why; comments and blank lines are no commands."""
    path = tmp_path / "mine.jobs"
    path.write_text(SCENARIO)
    scenario = read(path)
    assert (scenario.name, scenario.must, scenario.group) == (
        "mine",
        "Do the work once.",
        "connection",
    )
    assert scenario.slow
    assert scenario.why == (
        "Events may come twice.",
        "https://docs.aws.amazon.com/iot/latest/developerguide/mqtt.html",
    )
    assert scenario.lines == (
        Line(8, 'create-job Job1 {"operation": "sleep"}'),
        Line(10, "should expect Job1 SUCCEEDED 10"),
    )


def test_a_script_without_a_head(tmp_path: Path) -> None:
    """A file of one's own needs no head."""
    path = tmp_path / "mine.jobs"
    path.write_text("\ufeffwait 1\n")
    scenario = read(path)
    assert (scenario.must, scenario.why, scenario.group, scenario.slow) == ("", (), "jobs", False)
    assert scenario.lines == (Line(1, "wait 1"),)


def test_choose(tmp_path: Path) -> None:
    """Names and paths are taken in order, each once; without any, all but the slow ones."""
    (tmp_path / "mine.jobs").write_text("wait 1\n")
    names = ["order-of-three", str(tmp_path / "mine.jobs"), "order-of-three"]
    chosen = choose(names, everything=False)
    assert [scenario.name for scenario in chosen] == ["order-of-three", "mine"]
    everything = choose([], everything=True)
    assert choose([], everything=False) == [each for each in everything if not each.slow]
    assert {"order-of-three", "burst-of-20"} < {each.name for each in everything}


def test_names_are_unique(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a scenario has its path as its name; one file is taken once."""
    monkeypatch.chdir(tmp_path)
    paths = ["order-of-three.jobs", "a/x.jobs", "b/x.jobs", "c/y.jobs"]
    for path in paths:
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text("wait 1\n")
    chosen = choose([*paths, "./a/x.jobs", "order-of-three"], everything=False)
    assert [scenario.name for scenario in chosen] == [
        "order-of-three",
        "a/x",
        "b/x",
        "y",
        "order-of-three",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("order-of-thre", b"", "there is no scenario 'order-of-thre'; did you mean order-of-three"),
        ("mine", b"", "there is no scenario 'mine'."),
        ("none.jobs", b"", "none.jobs cannot be read: No such file or directory."),
        ("mine.jobs", b"# x\n\nexpct J FAILED\n", "mine.jobs, line 3: unknown command 'expct'"),
        ("mine.jobs", b"\xff", "it is not UTF-8"),
        ("mine.jobs", b"# Do it.\n\n", "mine.jobs has no commands"),
    ],
)
def test_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, message: str
) -> None:
    """A scenario that cannot be run is a mistake that is found before anything starts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.jobs").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        choose([name], everything=False)
    assert message in caught.value.message
