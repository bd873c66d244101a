"""The trained bundles that come with Recast."""

from pathlib import Path

BUNDLES = Path(__file__).parent / "bundles"
SHIPPED = ("upscale-x2", "upscale-x4")


def shipped(name: str) -> Path:
    """The folder of a shipped bundle.

    Raises:
        ValueError: none of that name is shipped.
    """
    if name not in SHIPPED:
        raise ValueError(f"no bundle {name!r} comes with Recast; there is {', '.join(SHIPPED)}")
    return BUNDLES / name
