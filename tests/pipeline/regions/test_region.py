"""Regions of one thing become one, and no mask or box shows less than another."""

import numpy as np
import pyarrow as pa
import pytest

from recast.pipeline.output.rows import SCHEMA
from recast.pipeline.regions import masks
from recast.pipeline.regions.detectors import NotFiniteError, numbered
from recast.pipeline.regions.masks import MaskError
from recast.pipeline.regions.region import Region, fitted, union

SIZE = 60, 80


def rectangle(left, top, right, bottom):
    pixels = np.zeros(SIZE, bool)
    pixels[top:bottom, left:right] = True
    return masks.encoded(pixels)


def region(box, mask=None, **more):
    facts = {"kind": "person", "score": 0.9, "detector": "test", **more}
    return Region(box=tuple(map(float, box)), mask=mask, **facts)


def test_masks_of_one_thing_are_joined_pixel_by_pixel():
    """What the better one does not know (track, category, points), the other tells."""
    one = region((10, 10, 30, 40), rectangle(10, 10, 30, 40), detector="a", points=(1, 2, 0.5))
    other = region((12, 8, 30, 40), rectangle(12, 8, 30, 40), detector="b", score=0.5, track="t1", category=3)
    (joined,) = union([[other], [one]])
    assert joined.mask == masks.union(one.mask, other.mask)
    assert (joined.box, joined.score, joined.detector) == ((10, 8, 30, 40), 0.9, "a+b")
    assert (joined.points, joined.track, joined.category) == ((1, 2, 0.5), "t1", 3)


def test_two_people_in_boxes_of_one_place_stay_two():
    """Boxes that overlap much, masks that do not: they embrace each other."""
    upper, lower = np.triu(np.ones((30, 20), bool)), np.tril(np.ones((30, 20), bool), -1)
    both = []
    for part in (upper, lower):
        pixels = np.zeros(SIZE, bool)
        pixels[10:40, 10:30] = part
        both.append(region((10, 10, 30, 40), masks.encoded(pixels)))
    assert len(union([both])) == 2


def test_a_box_and_a_mask_of_one_thing_stay_both():
    """Neither holds the other for sure, whatever the shapes are that they are replaced in."""
    known = [region((10, 10, 30, 40), score=0.8), region((10, 10, 30, 40), rectangle(12, 12, 28, 39))]
    assert sorted(union([known]), key=lambda r: r.score) == known


def test_a_box_is_made_to_hold_its_mask():
    rle = rectangle(5, 6, 20, 30)
    assert fitted(region((10, 10, 15, 40), rle), *SIZE).box == (5, 6, 20, 40)
    assert fitted(region((1, 1, 2, 2)), *SIZE).box == (1, 1, 2, 2)
    assert fitted(region((1, 1, 9, 9), masks.encoded(np.zeros(SIZE, bool))), *SIZE).mask is None
    with pytest.raises(MaskError, match="has 4,800 pixels"):
        fitted(region((10, 10, 15, 40), rle), 61, 80)


@pytest.mark.parametrize("wrong", [{"mask": "zz"}, {"mask": "0"}, {"points": (1, float("nan"), 0)}])
def test_a_detector_that_gives_what_can_not_be_is_not_believed(wrong):
    with pytest.raises(NotFiniteError, match="test gives"):
        numbered(region((1, 1, 9, 9), **wrong), *SIZE)


def test_a_region_is_a_row_of_the_index():
    """Every column of the contract comes back as it was; what is not known is null."""
    whole = region((1, 2, 30, 40), rectangle(1, 2, 30, 40), points=(1.5, 2.5, 2), track="7", category=3)
    kind = SCHEMA.field("regions").type
    written = pa.array([[whole.row("solid"), region((1, 2, 3, 4)).row(None)]], kind).to_pylist()[0]
    assert written[0] == {
        "kind": "person", "box": [1, 2, 30, 40], "score": pytest.approx(0.9), "action": "solid", "detector": "test",
        "category": 3, "mask": whole.mask, "points": [1.5, 2.5, 2], "track": "7", "frame": None,
    }  # fmt: skip
    assert [written[1][name] for name in ("action", "category", "mask", "points", "track")] == [None] * 5
