"""The bundles that come with the package."""

from pathlib import Path


def shipped(name: str) -> Path:
    """The folder of a shipped bundle: `upscale-x2`, `upscale-x4`."""
    return Path(__file__).parent / "bundles" / name
