"""What made a result: the versions of Recast, of Python, and of the packages that do the work."""

import importlib.metadata
import platform

VERSION = "0.1.0"
"""Recast's own; written here, since its code also runs where only its dependencies are installed."""
PACKAGES = ("ray", "torch", "pyarrow", "pillow", "fsspec", "s3fs", "numpy")


def versions() -> dict[str, str]:
    return {
        "recast": VERSION,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }
