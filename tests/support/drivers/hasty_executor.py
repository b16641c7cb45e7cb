"""The reference device with other constants, the first argument: {"NAME": VALUE}."""

import asyncio
import json
import sys

import job_executor

vars(job_executor).update(json.loads(sys.argv.pop(1)))
sys.exit(asyncio.run(job_executor.main(job_executor.parse_arguments())))
