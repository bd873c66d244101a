"""What made a result: the versions of Recast, of Python, and of the packages that do the work."""

import importlib.metadata
import platform

from recast import __version__

PACKAGES = ("ray", "torch", "pyarrow", "pillow", "fsspec", "s3fs", "numpy")


def versions() -> dict[str, str]:
    return {
        "recast": __version__,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }
