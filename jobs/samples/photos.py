"""The real photographs that scikit-image's wheel carries, laid out as a training set and a test set."""

import importlib.util
import io
from pathlib import Path

from PIL import Image

from recast.pipeline import storage

PHOTOGRAPHS = {
    "test": ("chelsea.png", "coffee.png"),
    "train": (
        "astronaut.png",
        "brick.png",
        "camera.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "moon.png",
        "motorcycle_left.png",
        "motorcycle_right.png",
        "retina.jpg",
        "rocket.jpg",
    ),
}
"""Files that lie in the wheel itself; scikit-image would have to download its others."""


class PhotographsMissingError(Exception):
    """The photographs are not on this machine; the message says how to get them."""

    exit_status = 1


def photograph_files(split: str) -> list[Path]:
    """The installed photographs of a split, `train` or `test`.

    Raises:
        PhotographsMissingError: scikit-image is not installed, or has none of them in its wheel.
    """
    package = importlib.util.find_spec("skimage")
    if package is None or package.origin is None:
        raise PhotographsMissingError(
            "the sample photographs are part of scikit-image: pip install 'scikit-image>=0.25'"
        )
    folder = Path(package.origin).parent / "data"
    files = [folder / name for name in PHOTOGRAPHS[split] if (folder / name).is_file()]
    if not files:
        raise PhotographsMissingError(f"no photographs in {folder}: pip install --force-reinstall 'scikit-image>=0.25'")
    return files


def write_photos(target: str, *, max_side_px: int | None = None) -> list[str]:
    """Write the photographs as PNG files to TARGET/train and TARGET/test, a local folder or any fsspec URL.

    Args:
        max_side_px: reduce photographs that are larger; None keeps every pixel.

    Returns:
        Their names relative to the target: `test/chelsea.png`, …
    """
    fs, root = storage.filesystem(target)
    names = []
    for split in PHOTOGRAPHS:
        for file in photograph_files(split):
            name = f"{split}/{file.stem}.png"
            storage.write_bytes(fs, storage.join(root, name), _as_png(file, max_side_px))
            names.append(name)
    return names


def _as_png(file: Path, max_side_px: int | None) -> bytes:
    buffer = io.BytesIO()
    with Image.open(file) as photograph:
        if max_side_px is not None:
            photograph.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
        photograph.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
