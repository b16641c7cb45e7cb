"""An interactive sandbox for AWS IoT Jobs.

For your own tests, ``from jobs_sandbox import local_iot`` is a context manager that runs the
embedded AWS IoT.
"""

__version__ = "2.0.0"
__all__ = ["LocalIoT", "local_iot"]

TYPE_CHECKING = False  # importing typing would take a tenth of the time of --version
if TYPE_CHECKING:
    from jobs_sandbox.local.service import LocalIoT, local_iot


def __getattr__(name: str) -> object:
    """Import the public names on first use; they are slow to load."""
    if name in __all__:
        from jobs_sandbox.local import service as embedded

        return getattr(embedded, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
