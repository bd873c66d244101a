"""A drawn street as a data set: scenes, COCO's instances.json and a table of boxes, for training and for tests."""

import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from recast.jobs.samples import street_panoptic
from recast.jobs.samples.street_people import KEYPOINTS
from recast.jobs.samples.street_scene import CATEGORIES, Scene, Thing, draw_scene
from recast.pipeline import storage
from recast.pipeline.regions import masks
from recast.pipeline.storage import FileSystem

HELD_OUT_SHARE = 0.2
SCHEMA = pa.schema([("key", pa.string()), ("box", pa.list_(pa.float32(), 4)), ("kind", pa.string())])
"""`box`: left, top, right and bottom of the visible pixels."""
BONES = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9)),
    *((8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
"""COCO's skeleton: pairs of keypoints, counted from 1."""


def write_street(target: str, *, count: int, seed: int = 0, size_px: int = 256) -> dict[str, int]:
    """Draw `count` scenes in `train/` and a fifth as many in `test/`, and below `panoptic/` what each of their pixels
    shows; returns counts by folder."""
    fs, root = storage.filesystem(target)
    counts = {"train": count, "test": max(1, round(count * HELD_OUT_SHARE))}
    with storage.faults_as_sentences(f"writing {target}"):
        for part, (folder, wanted) in enumerate(counts.items()):
            _write(fs, root, folder, [seed, part], wanted, size_px)
    return counts


def _write(fs: FileSystem, root: str, part: str, seeds: list[int], count: int, side: int) -> None:
    folder, panoptic = storage.join(root, part), storage.join(root, "panoptic")
    images: list[dict[str, Any]] = []
    segmented: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for n in range(count):
        scene, key, buffer = draw_scene(np.random.default_rng([*seeds, n]), side), f"{n:05d}.png", io.BytesIO()
        Image.fromarray(scene.pixels).save(buffer, "PNG", compress_level=3)
        storage.write_bytes(fs, storage.join(folder, key), buffer.getvalue())
        images.append({"id": n + 1, "file_name": key, "width": side, "height": side})
        ids, segments = street_panoptic.segments(scene)
        storage.write_bytes(fs, storage.join(panoptic, part, key), street_panoptic.png_of(ids))
        segmented.append({"image_id": n + 1, "file_name": key, "segments_info": segments})
        for thing in scene.things:
            found = _annotation(scene, thing)
            if found is not None:
                annotations.append({"id": len(annotations) + 1, "image_id": n + 1, **found})
                left, top, width, height = found["bbox"]
                rows.append({"key": key, "box": [left, top, left + width, top + height], "kind": thing.category})
    coco = {"images": images, "categories": _categories(), "annotations": annotations}
    storage.write_bytes(fs, storage.join(folder, "instances.json"), json.dumps(coco).encode())
    whole = {"images": images, "categories": street_panoptic.categories(), "annotations": segmented}
    storage.write_bytes(fs, storage.join(panoptic, f"{part}.json"), json.dumps(whole).encode())
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), table)
    storage.write_bytes(fs, storage.join(folder, "boxes.parquet"), table.getvalue())


def _categories() -> list[dict[str, Any]]:
    categories: list[dict[str, Any]] = [{"id": n + 1, "name": name} for n, name in enumerate(CATEGORIES)]
    categories[0] |= {"keypoints": list(KEYPOINTS), "skeleton": [list(bone) for bone in BONES]}
    return categories


def _annotation(scene: Scene, thing: Thing) -> dict[str, Any] | None:
    """What COCO says of a thing; None where other things hide all of it."""
    side = len(scene.ids)
    mask = masks.encoded(scene.mask(thing))
    box = masks.bounding_box(mask, side)
    if box is None:
        return None
    left, top, right, bottom = box
    found: dict[str, Any] = {
        "category_id": CATEGORIES.index(thing.category) + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": masks.area(mask),
        "iscrowd": 0,
        "segmentation": {"size": [side, side], "counts": mask},
    }
    return found | _keypoints(scene, thing) if thing.keypoints else found


def _keypoints(scene: Scene, thing: Thing) -> dict[str, Any]:
    """x, y and v of each: 2 where it is seen, 1 where another thing hides it, 0 (at 0, 0) outside of the picture."""
    side = len(scene.ids)
    values: list[float] = []
    for x, y in thing.keypoints:
        if not (0 <= x < side and 0 <= y < side):
            values += [0, 0, 0]
        else:
            values += [round(x, 2), round(y, 2), 2 if scene.ids[int(y), int(x)] == thing.number else 1]
    return {"keypoints": values, "num_keypoints": sum(v > 0 for v in values[2::3])}
