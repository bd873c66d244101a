"""Polygons hold the pixels that pycocotools puts into them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from recast.pipeline.regions import masks, polygons
from recast.pipeline.regions.masks import MaskError

coordinates = st.one_of(
    st.floats(-20, 60), st.integers(-20, 60).map(float), st.integers(-100, 300).map(lambda n: n / 5)
)
outlines = st.lists(coordinates, min_size=6, max_size=24).map(lambda numbers: numbers[: len(numbers) // 2 * 2])


@given(st.lists(outlines, min_size=1, max_size=3), st.integers(15, 50), st.integers(1, 50))
@settings(max_examples=500, deadline=None)
def test_polygons_are_rasterised_as_pycocotools_does(several, height, width):
    """Of any shape, crossing themselves and the image's edges, and several of one region together."""
    theirs = coco.merge(coco.frPyObjects(several, height, width))
    assert polygons.mask_of(several, height, width) == theirs["counts"].decode()


def test_a_rectangle_holds_its_pixels_and_a_line_none():
    rle = polygons.mask_of([[10, 20, 40, 20, 40, 25, 10, 25]], 60, 80)
    assert masks.bounding_box(rle, 60) == (10, 20, 40, 25)
    assert masks.area(rle) == 150
    assert masks.area(polygons.mask_of([[10, 20, 40, 20, 25, 20]], 60, 80)) == 0
    assert polygons.bounds([[10, 20, 40, 20, 25, 29], [5, 22, 6, 22, 6, 23]]) == (5, 20, 40, 29)


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        ([1, 2, 3, 4], "at least 3 corners"), ([1, 2, 3, 4, 5], "at least 3 corners"), (["a"] * 6, "list of numbers"),
        ([[1, 2], [3, 4], [5, 6]], "one after the other"), ([1, 2, 3, float("nan"), 5, 6], "no finite number"),
        ([1, 2, 3, 4, 1e12, 6], "far outside"), ([-500, 0, 0, 0, 0, 9], "far outside"),
        ([0, 0, 90, 90] * 40_000, "px long"),
    ],
)  # fmt: skip
def test_what_is_no_polygon_of_the_image_says_why(polygon, words):
    with pytest.raises(MaskError, match=words):
        polygons.mask_of([polygon], 90, 90)
