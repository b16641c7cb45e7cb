"""The device under test of ``--device``."""
