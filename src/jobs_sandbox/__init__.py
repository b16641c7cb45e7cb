"""An interactive sandbox for AWS IoT Jobs.

For tests of one's own, ``from jobs_sandbox import local_iot`` is a context manager that runs the embedded AWS IoT.
"""

__version__ = "1.0.0"
__all__ = ["LocalIoT", "local_iot"]

TYPE_CHECKING = False  # typing itself takes a tenth of the time that --version may take
if TYPE_CHECKING:
    from jobs_sandbox.local.service import LocalIoT, local_iot


def __getattr__(name: str) -> object:
    """What is public and takes its time to load: when it is asked for."""
    if name in __all__:
        from jobs_sandbox.local import service as embedded

        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
