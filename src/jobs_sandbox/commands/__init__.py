"""Commands: how a line is written, checked, completed, explained and carried out."""

from jobs_sandbox.commands import control, data, local, program  # noqa: F401 - each defines its commands
