"""What a second client needs to connect as this one does: the body of a ``Connection`` block. Pure."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs_sandbox.core.redaction import without_user
from jobs_sandbox.core.settings import Settings


def join_fields(settings: Settings, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a second client needs.

    Args:
        settings: of this run.
        environment: the AWS variables that the second client is to have, as those of ``--local``; else empty.

    Returns:
        ``endpoint``, ``port``, ``ca_file``, ``cert``, ``key``, ``region``, ``thing``, ``client_id`` (this client's own:
        another one needs another), ``endpoint_url`` and ``environment``, as far as there are any, and ``command``: a
        command line of this program, to paste.

    """
    fields = {
        "endpoint": settings.endpoint,
        "port": settings.port,
        "ca_file": settings.ca_file,
        "cert": settings.cert,
        "key": settings.key,
        "region": settings.region,
        "thing": settings.thing,
        "client_id": settings.client_id,
        "endpoint_url": settings.endpoint_url and without_user(settings.endpoint_url),
        "environment": dict(environment),
        "command": f"{_this_program()} {shlex.join(_arguments(settings))}",
    }
    return {name: value for name, value in fields.items() if value}


def _arguments(settings: Settings) -> list[str]:
    options = {
        "--port": str(settings.port),
        "--ca-file": settings.ca_file,
        "--profile": settings.profile,
        "--endpoint-url": settings.endpoint_url and without_user(settings.endpoint_url),
    }
    given = [word for name, value in options.items() if value for word in (name, value)]
    joined = [settings.endpoint, settings.cert, settings.key, settings.region]
    if settings.thing.startswith("-"):  # not an option
        return [*joined, *given, "--", settings.thing]
    return [*joined, settings.thing, *given]


def _this_program() -> str:
    """The command that runs this very program, from any folder and without its virtual environment."""
    script = Path(sys.executable).with_name("jobs-sandbox")
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m jobs_sandbox"
