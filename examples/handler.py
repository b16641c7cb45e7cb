#!/usr/bin/env python3
"""A handler for job_executor.py that knows the job documents of `jobs-sandbox --check`.

{"operation": "sleep", "seconds": 2}    work for so long, and report progress; SUCCEEDED
{"operation": "fail", "seconds": 2}     work for so long, and report progress; FAILED
{"operation": "restart"}                restart the device, once; SUCCEEDED after the restart
anything else                           an unknown document; REJECTED
"""

import json
import os
import signal
import sys
import time

document = json.load(sys.stdin)
match document:
    case {"operation": "sleep" | "fail" as operation, **options}:
        begun, seconds = time.monotonic(), float(str(options.get("seconds", 0)))
        while (passed := time.monotonic() - begun) < seconds:
            print(json.dumps({"progress": f"{passed / seconds:.0%}"}), flush=True)
            time.sleep(min(0.25, seconds - passed))
        if operation == "fail":
            sys.exit("it did not work, as the document wanted")
    case {"operation": "restart"}:
        if os.environ["JOB_RESUMED"] == "0":
            # A real device would call `reboot`. Either way SIGTERM ends this handler.
            os.kill(os.getppid(), signal.SIGTERM)
            signal.pause()
    case _:
        print(f"no operation of this device: {json.dumps(document)}", file=sys.stderr)
        sys.exit(os.EX_DATAERR)
