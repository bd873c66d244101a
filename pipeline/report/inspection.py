"""What an audit shows of one published image: all of it, what was replaced in it, and close looks if it is reduced."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from recast.pipeline import storage
from recast.pipeline.images.decode import decode
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output import index
from recast.pipeline.regions import masks
from recast.pipeline.report.embed import Embedded, embed, embed_file, visible
from recast.pipeline.report.output import Output

LONGEST_PX = 1600
"""A longer image is shown reduced to this, and parts of it as they are beside it."""
CLOSE_PX = 560
"""A replaced region that is larger, with some of what surrounds it, is shown reduced, too."""
MOST_REGIONS, MOST_OTHERS = 12, 6
"""Close looks at replaced regions, the smallest first, and at the busiest of the rest."""
OTHER_PX = (480, 360)
AROUND = 0.3
"""The share of a region's size that is shown around it on each side."""
MOST_PIXELS = 400_000_000
MOST_BYTES = 1 << 30
AFFORDABLE_BYTES = 400_000
AFFORDABLE_CLOSE_BYTES = 60_000
MOST_EDGES = 20
"""How many edges of a mask in pieces or with holes are drawn, the longest of them."""
FINE = 0.004
"""How far a drawn edge may be from a mask's, as a share of the longer side of its box."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A replaced region, and where it lies on the shown image, in percent of its sides."""

    kind: str
    action: str
    score: float
    box: Box
    left: float
    top: float
    across: float
    down: float
    outline: str = ""
    """The edge of its mask, as an SVG path in percent of the box's sides; empty where it has none."""

    @property
    def size(self) -> tuple[int, int]:
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


@dataclass(frozen=True, kw_only=True)
class Close:
    """A part of the image, pixel by pixel where `scale` is 1."""

    box: Box
    picture: Embedded
    scale: float
    replaced: int
    """The number of the replaced region, from 1; 0 for a part of the rest."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One published image on the page. What can't be shown has no picture, and `note` says why."""

    key: str
    sha256: str
    note: str = ""
    remarks: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    """Width and height of the published image."""
    views: tuple[tuple[str, Embedded], ...] = ()
    """The whole image, and other looks at it (on black, without its transparency), each with what it is."""
    marks: tuple[Mark, ...] = ()
    closes: tuple[Close, ...] = ()

    @property
    def picture(self) -> Embedded | None:
        return self.views[0][1] if self.views else None

    @property
    def reduced(self) -> bool:
        return self.picture is not None and (self.picture.width, self.picture.height) != self.size

    def to_json(self) -> dict[str, Any]:
        """For who checks later what was looked at."""
        shown = self.picture
        return {
            "key": self.key,
            "sha256": self.sha256,
            "shown": shown is not None,
            "why_not": self.note if shown is None else None,
            "width": self.size[0],
            "height": self.size[1],
            "shown_whole_at": [shown.width, shown.height] if shown else None,
            "parts_shown_close": [list(close.box) for close in self.closes],
            "replaced": [list(mark.box) for mark in self.marks],
        }


def inspected(output: Output, row: Mapping[str, Any]) -> Shown:
    """One image of the index, read and checked against its sha256."""
    key, sha256 = str(row["key"]), str(row["sha256"])
    try:
        if (row["length"] or 0) > MOST_BYTES:
            raise InputError("too-large", f"its file has {row['length']:,} bytes, more than a page can open")
        place = index.place_of(row)
        if place is None:
            raise InputError("damaged", "the index doesn't tell where its bytes lie")
        data = output.read(place.path, place.offset, place.length)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputError("damaged", "its bytes are not those that the index tells of")
        return _shown(key, sha256, data, decode(data, MOST_PIXELS), row)
    except InputError as fault:
        why = fault.sentence
    except Exception as fault:
        if not storage.is_storage_fault(fault) and not isinstance(fault, (ValueError, MemoryError, TypeError)):
            raise
        why = storage.sentence(fault)
    return Shown(key=key, sha256=sha256, note=f"Not shown: {why}.")


def _shown(key: str, sha256: str, data: bytes, picture: Picture, row: Mapping[str, Any]) -> Shown:
    size = picture.width, picture.height
    looks = visible(picture)
    plain = picture.pixels.dtype == np.uint8 and picture.alpha is None and not looks[0][0]
    whole = [(what, _whole(image, data if plain else b"")) for what, image in looks]
    marks = [_mark(region, *size) for region in row["regions"] or () if region["action"]]
    closes = _closes(looks[0][1], marks) if max(size) > LONGEST_PX else []
    remarks = tuple(row.get("notes") or ())
    return Shown(
        key=key, sha256=sha256, remarks=remarks, size=size, views=tuple(whole), marks=tuple(marks),
        closes=tuple(closes),
    )  # fmt: skip


def _whole(image: Image.Image, data: bytes) -> Embedded:
    """All of an image, within the page's bounds; its own file where that is `data` and small enough."""
    if max(image.size) > LONGEST_PX:
        return embed(_fitted(image, LONGEST_PX), AFFORDABLE_BYTES)
    return embed_file(data, image, AFFORDABLE_BYTES) if data else embed(image, AFFORDABLE_BYTES)


def _fitted(image: Image.Image, longest_px: int) -> Image.Image:
    share = min(1.0, longest_px / max(image.size))
    size = max(1, round(image.width * share)), max(1, round(image.height * share))
    small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    small.info.update(image.info)
    return small


def _mark(region: Mapping[str, Any], width: int, height: int) -> Mark:
    left, top, right, bottom = (float(side) for side in region["box"])
    left, right = (min(max(side, 0.0), width) for side in (left, right))
    top, bottom = (min(max(side, 0.0), height) for side in (top, bottom))
    box = (int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom)))
    return Mark(
        kind=str(region["kind"]), action=str(region["action"]), score=float(region["score"] or 0), box=box,
        left=100 * left / width, top=100 * top / height,
        across=100 * (right - left) / width, down=100 * (bottom - top) / height,
        outline=_outline(region["mask"], box, width, height) if region.get("mask") else "",
    )  # fmt: skip


def _outline(mask: str, box: Box, width: int, height: int) -> str:
    """The edge of a mask as an SVG path, in percent of its box; empty for a mask that can't be of this image."""
    try:
        masks.checked(mask, height, width)
    except masks.MaskError:
        return ""
    across, down = box[2] - box[0], box[3] - box[1]
    if across < 1 or down < 1:
        return ""
    inside = np.pad(masks.decoded(mask, height, box).view(np.uint8), 1)
    edges, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    path = []
    for edge in sorted(edges, key=len)[-MOST_EDGES:]:
        corners = cv2.approxPolyDP(edge, FINE * max(across, down), closed=True).reshape(-1, 2) - 0.5
        shares = 100 * corners / (across, down)
        path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in shares) + "Z")
    return "".join(path)


def _closes(image: Image.Image, marks: Sequence[Mark]) -> list[Close]:
    """Parts of a reduced image as they are: what was replaced, and the busiest of what was not."""
    numbered = sorted(enumerate(marks, 1), key=lambda pair: pair[1].size[0] * pair[1].size[1])[:MOST_REGIONS]
    found = [_close(image, _around(mark.box, image.size), number) for number, mark in sorted(numbered)]
    others = _busiest(image, [mark.box for mark in marks])
    return found + [_close(image, box, 0) for box in others]


def _close(image: Image.Image, box: Box, number: int) -> Close:
    part = image.crop(box)
    part.info.update(image.info)
    fitted = _fitted(part, CLOSE_PX)
    return Close(
        box=box, picture=embed(fitted, AFFORDABLE_CLOSE_BYTES), scale=fitted.width / part.width, replaced=number
    )


def _around(box: Box, size: tuple[int, int]) -> Box:
    across, down = (max(16, round(AROUND * side)) for side in (box[2] - box[0], box[3] - box[1]))
    return (
        max(0, box[0] - across), max(0, box[1] - down),
        min(size[0], box[2] + across), min(size[1], box[3] + down),
    )  # fmt: skip


def _busiest(image: Image.Image, taken: Sequence[Box]) -> list[Box]:
    """The parts of an even grid with the most fine detail, but those that replaced regions fill for the most part."""
    across, down = (max(1, side // px) for side, px in zip(image.size, OTHER_PX, strict=True))
    edges = [
        np.linspace(0, side, count + 1).astype(int) for side, count in zip(image.size, (across, down), strict=True)
    ]
    small = np.asarray(image.convert("L").resize((8 * across, 8 * down), Image.Resampling.BOX), np.float32)
    detail = np.abs(np.diff(small, axis=0, prepend=small[:1])) + np.abs(np.diff(small, axis=1, prepend=small[:, :1]))
    amount = detail.reshape(down, 8, across, 8).mean((1, 3))
    boxes = [
        (-float(amount[y, x]), (int(edges[0][x]), int(edges[1][y]), int(edges[0][x + 1]), int(edges[1][y + 1])))
        for y in range(down)
        for x in range(across)
    ]
    free = [box for _, box in sorted(boxes) if all(_shared(box, other) < 0.5 for other in taken)]
    return sorted(free[:MOST_OTHERS], key=lambda box: (box[1], box[0]))


def _shared(box: Box, other: Box) -> float:
    """The share of a box that another covers."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    down = min(box[3], other[3]) - max(box[1], other[1])
    return max(0, across) * max(0, down) / max(1, (box[2] - box[0]) * (box[3] - box[1]))
