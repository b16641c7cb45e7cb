"""``python -m jobs_sandbox``."""

from jobs_sandbox.cli import main

main()
