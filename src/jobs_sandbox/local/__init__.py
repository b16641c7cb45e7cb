"""The embedded AWS IoT of ``--local``. The only importer of MiniStack."""

HOST = "127.0.0.1"
ACCOUNT = "000000000000"
REGION = "us-east-1"
