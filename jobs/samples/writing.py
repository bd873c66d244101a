"""`recast sample`: draw or write a data set for trying things out."""

from typing import Literal

from recast.jobs.exit_status import DONE
from recast.jobs.samples.facades import write_facades
from recast.jobs.samples.faces import write_faces
from recast.jobs.samples.leaves import write_leaves
from recast.jobs.samples.photos import write_photos
from recast.jobs.samples.shapes import write_shapes
from recast.jobs.samples.street import write_street

Kind = Literal["facades", "faces", "leaves", "photos", "shapes", "street"]


def run(kind: Kind, folder: str, *, count: int, size: int, seed: int) -> int:
    """Write a sample set of `count` training examples (photos: all there are) into a folder or URL."""
    match kind:
        case "photos":
            print(f"{folder}: {len(write_photos(folder))} photographs, in train/ and test/")
        case "leaves":
            print(f"{folder}: {len(write_leaves(folder, count=count, seed=seed, size_px=size))} drawings")
        case "shapes":
            counts = write_shapes(folder, count=count, seed=seed, size_px=size)
            print(f"{folder}: {sum(counts.values())} drawings of {len(counts)} classes, in a folder for each")
        case "faces":
            counts = write_faces(folder, count=count, seed=seed, size_px=size)
            print(f"{folder}: {', '.join(f'{n} in {name}' for name, n in counts.items())}; their faces in .parquet")
        case "street":
            counts = write_street(folder, count=count, seed=seed, size_px=size)
            scenes = ", ".join(f"{n} scenes in {name}/" for name, n in counts.items())
            print(f"{folder}: {scenes}, each with instances.json and boxes.parquet")
        case "facades":
            held_out = max(count // 10, 1)
            counts = write_facades(folder, train=count, val=held_out, test=held_out, seed=seed, size_px=size)
            print(f"{folder}: {', '.join(f'{n} {split}' for split, n in counts.items())}")
    return DONE
