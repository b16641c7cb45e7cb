"""An interactive sandbox for AWS IoT Jobs."""

__version__ = "1.0.0"
