"""What every pixel of drawn streets shows, in COCO's panoptic form: a JSON file, and a PNG of ids for each image.

Kirillov et al. 2019, "Panoptic segmentation" (arXiv:1801.00868); a pixel's id is red + 256 green + 65,536 blue.
"""

import io
from typing import Any

import numpy as np
from PIL import Image

from recast.jobs.samples.street_scene import CATEGORIES, STUFF, Scene


def categories() -> list[dict[str, Any]]:
    """Things, then stuff."""
    named = [(name, 1) for name in CATEGORIES] + [(name, 0) for name in STUFF]
    return [{"id": n, "name": name, "isthing": isthing} for n, (name, isthing) in enumerate(named, 1)]


def segments(scene: Scene) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """The id of the segment that each pixel belongs to, uint32 [S, S], and what each is: things by their numbers, a
    plate apart from its car, then one segment for each kind of stuff."""
    last = max((thing.number for thing in scene.things), default=0)
    ids = np.where(scene.ids > 0, scene.ids, last + scene.parts.astype(np.uint32)).astype(np.uint32)
    category = {thing.number: CATEGORIES.index(thing.category) + 1 for thing in scene.things}
    category |= {last + n: len(CATEGORIES) + n for n in range(1, len(STUFF) + 1)}
    return ids, [_segment(ids == number, int(number), category[int(number)]) for number in np.unique(ids)]


def _segment(inside: np.ndarray, number: int, category: int) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "category_id": category,
        "area": int(inside.sum()),
        "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
        "iscrowd": 0,
    }


def png_of(ids: np.ndarray) -> bytes:
    """Ids as a PNG in COCO's colours."""
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], -1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(colours).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
