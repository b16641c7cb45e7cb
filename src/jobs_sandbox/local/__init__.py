"""The embedded AWS IoT of ``--local``. The only importer of MiniStack."""

HOST = "127.0.0.1"
"""Where the embedded AWS IoT listens."""

ENDPOINT = "localhost"
"""The MQTT endpoint's name, which is in its certificate. Some TLS clients do not verify IP
addresses."""

ACCOUNT = "000000000000"
REGION = "us-east-1"
