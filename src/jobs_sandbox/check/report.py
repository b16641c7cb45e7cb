"""Reports on the scenarios: as text, as JSON, and as JUnit XML for CI systems."""

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from jobs_sandbox.check.scenarios import Line, Scenario
from jobs_sandbox.core.errors import SandboxError
from jobs_sandbox.core.text import escape, escape_lines
from jobs_sandbox.ui.formatting import error_text

_DOCUMENTS = (
    "the device must know the job documents of the scenarios:",
    '  {"operation": "sleep", "seconds": 2}  take so long; SUCCEEDED',
    '  {"operation": "fail", "seconds": 2}   take so long; FAILED',
    '  {"operation": "restart"}              restart the device, once; SUCCEEDED afterwards',
    "  anything else                         nothing; REJECTED",
)
_PASSED, _WARNING, _FAILED = "passed", "warning", "FAILED"


class Problem(SandboxError):
    """A line of a scenario that failed; a warning if it began with ``should``."""

    def __init__(self, line: Line, error: SandboxError) -> None:
        super().__init__(error.message, cause=error.cause, next_step=error.next_step)
        self.is_warning = error.is_warning
        self.line = line


@dataclass(frozen=True)
class Result:
    """The result of a scenario.

    Attributes:
        scenario: the scenario.
        seconds: how long it took.
        problems: the lines that failed: warnings, and at last what ended it, if it failed.
        story: what the device did, as AWS IoT saw it, a line each.
        output: the last lines that the device printed.
        alone: it had a problem beside another scenario, and not when it ran alone.

    """

    scenario: Scenario
    seconds: float
    problems: Sequence[Problem]
    story: Sequence[str]
    output: Sequence[str]
    alone: bool = False

    @property
    def outcome(self) -> str:
        """``passed``, ``warning`` or ``FAILED``."""
        if not self.problems:
            return _PASSED
        return _WARNING if self.problems[-1].is_warning else _FAILED

    @property
    def failed(self) -> bool:
        """Whether the device did not do what it must."""
        return self.outcome == _FAILED


@dataclass(frozen=True)
class Failure:
    """Why no scenario could be run; ``story`` and ``output`` as of `Result`."""

    error: SandboxError
    story: Sequence[str]
    output: Sequence[str]


def result_text(result: Result) -> str:
    """A line and, if there are problems, what a developer needs to find their causes."""
    scenario = result.scenario
    alone = " (alone; it had a problem beside another one)" if result.alone else ""
    lines = [f"{result.outcome:<7}  {scenario.name}  {result.seconds:.1f} s{alone}"]
    if result.problems:
        lines += ["", f"    {scenario.must}", *(f"    {text}" for text in scenario.why), ""]
    for problem in result.problems:
        lines.append(f"    {error_text(problem, {'line': problem.line.number}).splitlines()[0]}")
        lines.append(f"      {problem.line.text}")
        lines += [f"    {text}" for text in error_text(problem).splitlines()[1:]]
    if result.failed:
        lines += ["", *details(result.story, result.output)]
    if result.problems:
        lines.append("")
    return escape_lines("\n".join(lines))


def details(story: Sequence[str], output: Sequence[str]) -> list[str]:
    """The activity and the last output of the device, as lines of a report."""
    did = story or ["nothing: it did not connect"]
    printed = output or ["nothing"]
    return [
        "    What the device did, as AWS IoT saw it:",
        *(f"      {text}" for text in did),
        "    The last lines that it printed:",
        *(f"      {text}" for text in printed),
    ]


def result_body(result: Result) -> dict[str, Any]:
    """The body of a Scenario block, for programs."""
    body: dict[str, Any] = {
        "name": result.scenario.name,
        "group": result.scenario.group,
        "must": result.scenario.must,
        "outcome": result.outcome.lower(),
        "seconds": round(result.seconds, 1),
        "alone": result.alone,
        "problems": [
            {"line": problem.line.number, "command": problem.line.text} | _error_body(problem)
            for problem in result.problems
        ],
    }
    if result.failed:
        body |= {
            "why": list(result.scenario.why),
            "activity": list(result.story),
            "output": list(result.output),
        }
    return body


def _error_body(error: SandboxError) -> dict[str, str]:
    return {"message": error.message, "cause": error.cause, "next": error.next_step}


def summary_body(
    results: Sequence[Result],
    left_out: Sequence[Scenario],
    seconds: float,
    failure: Failure | None,
) -> dict[str, Any]:
    """The body of a Summary block, for programs; arguments as of `summary` and `junit`."""
    counts = Counter(result.outcome for result in results)
    body: dict[str, Any] = {
        "passed": counts[_PASSED] + counts[_WARNING],
        "warnings": counts[_WARNING],
        "failed": counts[_FAILED],
        "notFinished": [scenario.name for scenario in left_out],
        "seconds": round(seconds, 1),
    }
    if failure:
        body |= _error_body(failure.error)
        body |= {"activity": list(failure.story), "output": list(failure.output)}
    return body


def by_hand(command: Sequence[str], policy: str | None) -> str:
    """The command line that runs a scenario at the prompt, without the scenario."""
    program = sys.argv[0]
    found = shutil.which("jobs-sandbox")
    if os.path.basename(program) == "__main__.py":
        words = [sys.executable, "-m", "jobs_sandbox"]
    elif found and os.path.realpath(found) == os.path.realpath(program):
        words = ["jobs-sandbox"]
    else:
        words = [program]
    words += ["--local", "--device", shlex.join(command)]
    if policy:
        words += ["--policy", policy]
    return shlex.join(words)


def summary(results: Sequence[Result], left_out: int, seconds: float, by_hand: str) -> list[str]:
    """How many scenarios passed, and what to know about those that failed.

    Args:
        results: of the scenarios that have ended.
        left_out: how many have not.
        seconds: how long it took.
        by_hand: see `by_hand`.

    """
    counts = Counter(result.outcome for result in results)
    parts = [f"{counts[_PASSED] + counts[_WARNING]} passed"]
    if counts[_WARNING]:
        parts.append(f"{counts[_WARNING]} of them with a warning")
    parts.append(f"{counts[_FAILED]} failed")
    if left_out:
        parts.append(f"{left_out} not finished")
    lines = [f"{', '.join(parts)} in {seconds:.0f} s"]
    if any(result.alone for result in results):
        lines.append("two devices side by side were in each other's way: a file, a lock, a port?")
    failed = [result.scenario for result in results if result.failed]
    if failed:
        if any(scenario.group != "security" for scenario in failed):
            lines += _DOCUMENTS
        lines.append("to see everything that happens in one of them:")
        lines.append(f"  {by_hand} < {shlex.quote(str(failed[0].path))}")
    return lines


def junit(
    results: Sequence[Result], left_out: Sequence[Scenario], failure: Failure | None
) -> bytes:
    """The results as JUnit XML.

    Args:
        results: of the scenarios that have ended.
        left_out: the scenarios that have not: errors, so that the report is not green; skipped, if
            none could be run.
        failure: why no scenario could be run, if so.

    """
    suite = ET.Element("testsuite", name="jobs-sandbox --check")
    if failure:
        case = ET.SubElement(suite, "testcase", classname="start", name="start", time="0")
        lines = [error_text(failure.error).rstrip(), *details(failure.story, failure.output)]
        _add(case, "failure", "\n".join(lines), failure.error.message)
    for result in results:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=result.scenario.group,
            name=result.scenario.name,
            time=f"{result.seconds:.1f}",
        )
        if result.failed:
            _add(case, "failure", result_text(result), result.problems[-1].message)
        elif result.problems:
            ET.SubElement(case, "system-out").text = result_text(result)
    for scenario in left_out:
        case = ET.SubElement(suite, "testcase", classname=scenario.group, name=scenario.name)
        if failure:
            _add(case, "skipped", "the device does not come to work")
        else:
            _add(case, "error", "not finished: interrupted")
    failures = sum(result.failed for result in results) + bool(failure)
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", str(0 if failure else len(left_out)))
    suite.set("skipped", str(len(left_out) if failure else 0))
    suite.set("time", f"{sum(result.seconds for result in results):.1f}")
    text: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _add(case: ET.Element, name: str, text: str, message: str = "") -> None:
    message = message or text.splitlines()[0]
    ET.SubElement(case, name, message=escape(message)).text = escape_lines(text)
