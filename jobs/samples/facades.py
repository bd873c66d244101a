"""A paired data set of drawn house fronts, photograph | label map, in the manner of the pix2pix facades."""

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from recast.jobs.samples.facade_layout import LABELS, Array, invent, label_map
from recast.jobs.samples.facade_painting import photograph
from recast.pipeline import storage

SPLITS = ("train", "val", "test")
DRAWING_THREADS = 4
COLOURS = np.array(list(LABELS.values()), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Facade:
    """One example: uint8 [size_px, size_px, 3] each."""

    photo: Array
    labels: Array


def draw_facade(seed: int, split: str, number: int, size_px: int = 256) -> Facade:
    """The example with this number in a split; it depends on nothing else that is drawn."""
    random = np.random.default_rng([seed, SPLITS.index(split), number])
    front = invent(random)
    return Facade(photograph(front, size_px, random), COLOURS[label_map(front, size_px)])


def write_facades(
    target: str, *, train: int = 400, val: int = 20, test: int = 40, seed: int = 0, size_px: int = 256
) -> dict[str, int]:
    """Draw a data set into a local folder or any fsspec URL.

    Training and validation examples are pictures `photograph | labels` side by side, one PNG each, in TARGET/train and
    TARGET/val. The test examples are held out as an archive to translate: TARGET/test/labels.tar, with the photographs
    that belong to it under the same names in TARGET/test/targets.tar.

    Args:
        train, val, test: how many examples of each split.
        size_px: the side of a photograph; a side-by-side picture is twice as wide.

    Returns:
        The number of examples of each split.
    """
    fs, root = storage.filesystem(target)
    with storage.faults_as_sentences(f"writing {target}"):
        for split, count in (("train", train), ("val", val)):
            write = partial(_write_pair, fs, storage.join(root, split), seed, split, size_px)
            with ThreadPoolExecutor(DRAWING_THREADS) as threads:
                list(threads.map(write, range(count)))
        facades = {f"{n:05d}.png": draw_facade(seed, "test", n, size_px) for n in range(test)}
        labels, photos = ({name: getattr(f, half) for name, f in facades.items()} for half in ("labels", "photo"))
        storage.write_bytes(fs, storage.join(root, "test", "labels.tar"), _tar(labels))
        storage.write_bytes(fs, storage.join(root, "test", "targets.tar"), _tar(photos))
    return {"train": train, "val": val, "test": test}


def _write_pair(fs: storage.FileSystem, folder: str, seed: int, split: str, size_px: int, number: int) -> None:
    facade = draw_facade(seed, split, number, size_px)
    both = np.concatenate([facade.photo, facade.labels], axis=1)
    storage.write_bytes(fs, storage.join(folder, f"{number:05d}.png"), _png(both))


def _png(pixels: Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _tar(images: dict[str, Array]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, pixels in images.items():
            data = _png(pixels)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
