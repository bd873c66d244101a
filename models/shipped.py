"""The bundles that come with the package."""

from pathlib import Path

SHIPPED = ("upscale-x2", "upscale-x4")


def shipped(name: str) -> Path:
    """The folder of a shipped bundle, one of SHIPPED."""
    return Path(__file__).parent / "bundles" / name
