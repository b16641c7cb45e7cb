"""``aws``, as far as the pages need it: runs a command line of the AWS CLI through boto3.

Commands, options and their types come from botocore's service models, as in the AWS CLI, so a
mistyped one fails. Credentials, region and endpoint come from the environment.
"""

import argparse
import configparser
import json
import os
import sys
from pathlib import Path
from typing import Any

import boto3
import jmespath  # type: ignore[import-untyped]
from botocore import xform_name

# The parts of an answer that the AWS CLI writes to files.
_OUTFILES = {
    "certificate_pem_outfile": "certificatePem",
    "private_key_outfile": "keyPair.PrivateKey",
}


def main(service: str, command: str, *words: str) -> None:
    """Run a command line, and print its answer as the AWS CLI does."""
    if (service, command) == ("configure", "set"):
        _configure(*words)
        return
    client: Any = boto3.client(service)
    operation = client.meta.method_to_api_mapping[command.replace("-", "_")]
    shape = client.meta.service_model.operation_model(operation).input_shape
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name, member in shape.members.items():
        option: Any = {"type": _value}
        if member.type_name == "boolean":
            option = {"action": "store_const", "const": True}
        parser.add_argument(f"--{xform_name(name, '-')}", dest=name, **option)
    for name in ("query", "output", *_OUTFILES):
        parser.add_argument(f"--{name.replace('_', '-')}")
    given = {name: value for name, value in vars(parser.parse_args(words)).items() if value}
    parameters = {name: value for name, value in given.items() if name in shape.members}
    answer = getattr(client, command.replace("-", "_"))(**parameters)
    del answer["ResponseMetadata"]
    for name, part in _OUTFILES.items():
        if path := given.get(name):
            Path(path).write_text(jmespath.search(part, answer), encoding="ascii")
    shown = jmespath.search(given.get("query", "@"), answer)
    if given.get("output") == "text":
        print("\t".join(shown) if isinstance(shown, list) else shown)
    elif shown:
        print(json.dumps(shown, default=str))


def _value(text: str) -> str:
    path = text.removeprefix("file://")
    return text if path == text else Path(path).read_text(encoding="utf-8")


def _configure(name: str, value: str, _: str, profile: str) -> None:
    """``aws configure set NAME VALUE --profile PROFILE``."""
    path = Path(os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    profiles = configparser.ConfigParser()
    profiles.read(path)
    profiles.read_dict({profile: {name: value}})
    with path.open("w") as file:
        profiles.write(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
