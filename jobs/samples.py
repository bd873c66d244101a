"""`recast sample`: draw or write a data set for trying things out."""

from typing import Literal

from pipeline.samples.facades import write_facades
from pipeline.samples.photos import write_photos

DONE = 0
Kind = Literal["facades", "photos"]


def run(kind: Kind, folder: str, *, count: int, size: int, seed: int) -> int:
    """Write a sample set of `count` training examples (photos: all there are) into a folder or URL."""
    if kind == "photos":
        names = write_photos(folder)
        print(f"{folder}: {len(names)} photographs, in train/ and test/")
        return DONE
    held_out = max(count // 10, 1)
    counts = write_facades(folder, train=count, val=held_out, test=held_out, seed=seed, size_px=size)
    print(f"{folder}: {', '.join(f'{n} {split}' for split, n in counts.items())}")
    return DONE
