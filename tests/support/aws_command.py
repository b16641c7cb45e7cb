"""``aws``, as far as the README needs it: runs one AWS CLI command line through boto3.

The command's name, options and parameter types are looked up in botocore's service models, as the AWS CLI does: a
mistyped one fails. Credentials, region and endpoint come from the environment.
"""

import configparser
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped] # it ships no types
from botocore import xform_name

_OUTFILES = {
    "certificate_pem_outfile": "certificatePem",
    "private_key_outfile": "keyPair.PrivateKey",
}


def main(words: list[str]) -> None:
    """Run one command line, and print its answer as the AWS CLI does."""
    if words[:2] == ["configure", "set"]:
        _configure(*words[2:])
        return
    service, command, *rest = words
    client: Any = boto3.client(service)  # whichever the command line names
    operations = {xform_name(name, "-"): name for name in client.meta.service_model.operation_names}
    model = client.meta.service_model.operation_model(operations[command])
    members = {xform_name(name): (name, shape) for name, shape in model.input_shape.members.items()}
    parameters: dict[str, object] = {}
    given = _options(rest, members)
    query, output = given.pop("query", None), given.pop("output", "json")
    outfiles = {path: _OUTFILES[option] for option, path in given.items() if option in _OUTFILES}
    for option, value in given.items():
        if option in members:
            name, shape = members[option]
            parameters[name] = value == "true" if shape.type_name == "boolean" else value
        elif option not in _OUTFILES:
            sys.exit(f"aws {service} {command}: unknown option {option}")
    answer = getattr(client, xform_name(operations[command]))(**parameters)
    answer.pop("ResponseMetadata", None)
    for path, expression in outfiles.items():
        Path(path).write_text(jmespath.search(expression, answer), encoding="ascii")
    shown = jmespath.search(query, answer) if query else answer
    if output == "text":
        print("\t".join(shown) if isinstance(shown, list) else shown)  # noqa: T201 - a command's output
    elif shown:
        print(json.dumps(shown, default=str))  # noqa: T201 - a command's output


def _options(words: list[str], members: dict[str, tuple[str, Any]]) -> dict[str, str]:
    found = {}
    left = list(words)
    while left:
        option = left.pop(0).removeprefix("--").replace("-", "_")
        if option in members and members[option][1].type_name == "boolean":
            found[option] = "true"
            continue
        value = left.pop(0)
        found[option] = (
            Path(value.removeprefix("file://")).read_text()
            if value.startswith("file://")
            else value
        )
    return found


def _configure(name: str, value: str, flag: str, profile: str) -> None:
    assert flag == "--profile", flag
    path = Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    kept = configparser.ConfigParser()
    kept.read(path)
    if profile not in kept:
        kept.add_section(profile)
    kept[profile][name] = value
    with path.open("w") as file:
        kept.write(file)


if __name__ == "__main__":
    main(sys.argv[1:])
