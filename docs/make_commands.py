"""Write what the code knows into the pages: ``python docs/make_commands.py``.

docs/commands.md is made from the commands, a table of docs/troubleshooting.md from the reasons that
diagnose-job can name.
"""

import re
from pathlib import Path

from jobs_sandbox.commands.command import COMMANDS, DATA, PLANES, Command
from jobs_sandbox.session.reasons import OTHERWISE, REASONS

PAGE = Path(__file__).with_name("commands.md")
TROUBLESHOOTING = Path(__file__).with_name("troubleshooting.md")

REASONS_HEAD = "| reason | what it says | next step |\n|---|---|---|\n"

HEAD = """\
# Commands

Made from the commands in `src/jobs_sandbox/commands` by `docs/make_commands.py`.
`help <command>` explains one, with an example.

## Arguments

- The job document is the rest of the line. It must be JSON of at most 32,768 bytes; if it is
  not, you see where, and nothing is sent. `file://path` reads it from a file. AWS IoT hands it
  to the device in its own notation: without `null` members, and `1e2` becomes `100.0`.
- A job id has 1 to 64 letters, digits, `-` and `_`. `describe-job-execution $next` shows the
  next execution.
- Statuses may be typed in lower case. The service refuses `CANCELED` from a device.
- `start-next-pending-job-execution`, `describe-job-execution` and `update-job-execution` take
  the optional fields of their requests as one JSON object at the end of the line, with AWS's
  names: `update-job-execution Job1 IN_PROGRESS
  {"statusDetails":{"step":"2/5"},"expectedVersion":2}`.
- `wait 2` waits two seconds. `wait JobExecutionsChangedEvent 10` waits at most ten seconds for
  that event, and fails if it does not come. It accepts an event that came after the last
  command that causes events, and each event only once.

## Operations, blocks and permissions

Topics are below `$aws/things/<thing>/jobs/`. For a request on the topic `get`, the device's
certificate needs `iot:Publish` on `get`, and `iot:Subscribe` and `iot:Receive` on `get/*`, where
the answer arrives. See [permissions](permissions.md).
"""


def page() -> str:
    """The text of docs/commands.md."""
    parts = [HEAD]
    for plane in PLANES:
        commands = [command for command in COMMANDS.values() if command.plane == plane]
        rows = "\n".join(row(command) for command in commands)
        header = "| command | calls | prints | then | needs |\n|---|---|---|---|---|"
        parts.append(f"### {plane}\n\n{header}\n{rows}\n")
    return "\n".join(parts)


def row(command: Command) -> str:
    """A row of a table."""
    cells = [
        f"`{command.name}`: {command.summary}"
        + (f". {command.details}" if command.details else ""),
        command.operation,
        f"`{command.title}`" if command.title else "",
        command.events,
        needs(command),
    ]
    return f"| {' | '.join(cells)} |"


def needs(command: Command) -> str:
    """The permissions that a command needs."""
    if command.plane == DATA:
        return f"topic `{command.topic}`"
    return "; ".join(
        f"`{action}` on {' and '.join(f'`{resource}`' for resource in resources)}"
        for action, resources in command.permissions.items()
    )


def with_reasons(text: str) -> str:
    """docs/troubleshooting.md with a row for each reason that diagnose-job can name."""
    rows = [
        f"| `{reason.name}` | {reason.meaning} | {reason.next_step} |\n"
        for reason in REASONS + OTHERWISE
    ]
    table = REASONS_HEAD + "".join(rows).format(job_id="<jobId>", thing="<thing>")
    return re.sub(rf"{re.escape(REASONS_HEAD)}(\|.*\n)*", lambda _: table, text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    reasons = with_reasons(TROUBLESHOOTING.read_text(encoding="utf-8"))
    TROUBLESHOOTING.write_text(reasons, encoding="utf-8")
