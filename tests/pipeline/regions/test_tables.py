"""Masks, points and sizes come from every kind of table; what can't be meant is refused or holds the image."""

import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as pycoco

from recast.pipeline.input_errors import HeldError
from recast.pipeline.regions import masks
from recast.pipeline.regions.tables import BoxesError, RegionTable

HEIGHT, WIDTH = 60, 80
TRIANGLE = [10.0, 20.0, 40.0, 20.0, 25.0, 45.0]
PIXELS = np.zeros((HEIGHT, WIDTH), bool)
PIXELS[20:30, 10:40] = True
RLE = masks.encoded(PIXELS)
COUNTS = masks.runs_of(RLE).tolist()


def coco(*annotations, **image):
    about = {"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT, **image}
    return {
        "images": [{name: value for name, value in about.items() if value is not None}],
        "annotations": [{"image_id": 1, "category_id": 7, **annotation} for annotation in annotations],
        "categories": [{"id": 7, "name": "person"}],
    }


def table(tmp_path, content, name="t.json"):
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return RegionTable(str(tmp_path / name))


@pytest.mark.parametrize(
    ("segmentation", "expected"),
    [
        ([TRIANGLE], pycoco.frPyObjects([TRIANGLE], HEIGHT, WIDTH)[0]["counts"].decode()),
        (TRIANGLE, pycoco.frPyObjects([TRIANGLE], HEIGHT, WIDTH)[0]["counts"].decode()),
        ({"size": [HEIGHT, WIDTH], "counts": COUNTS}, RLE),
        ({"size": [HEIGHT, WIDTH], "counts": RLE}, RLE),
    ],
)
def test_every_segmentation_of_coco_is_a_mask(tmp_path, segmentation, expected):
    """With a bbox or without; categories are kinds and numbers, keypoints points; a crowd is one region."""
    box = [10, 20, 30, 25]
    more = {"segmentation": segmentation, "iscrowd": 1, "keypoints": [11, 22, 2], "track_id": 5, "score": 0.5}
    for annotation in ({"bbox": box, **more}, more):
        (region,) = table(tmp_path, coco(annotation)).fitted("a.png", HEIGHT, WIDTH)
        assert region.mask == expected
        assert (region.kind, region.category, region.points) == ("person", 7, (11, 22, 2))
        assert (region.track, region.score, region.detector) == ("5", 0.5, "boxes")
        inside = masks.bounding_box(expected, HEIGHT)
        assert all(low <= side for low, side in zip(region.box[:2], inside[:2], strict=True))
        assert all(high >= side for high, side in zip(region.box[2:], inside[2:], strict=True))


def test_what_holds_no_pixel_or_has_no_known_size_is_its_box(tmp_path):
    """A polygon thinner than a pixel, and one in an image whose size the table does not tell; never less than bbox."""
    thin = [10, 20, 40, 20.1, 25, 20.1]
    (region,) = table(tmp_path, coco({"segmentation": [thin], "bbox": [10, 18, 30, 5]})).of("a.png")
    assert (region.mask, region.box) == (None, (10, 18, 40, 23))
    unknown = coco({"segmentation": [TRIANGLE], "bbox": [12, 22, 20, 20]}, width=None)
    (region,) = table(tmp_path, unknown).of("a.png")
    assert (region.mask, region.box) == (None, (10, 20, 40, 45))
    empty = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}
    (region,) = table(tmp_path, coco({"segmentation": empty, "bbox": [10, 18, 30, 5]})).of("a.png")
    assert (region.mask, region.box) == (None, (10, 18, 40, 23))


def test_an_image_of_another_size_than_its_regions_is_held(tmp_path):
    """Turned by 90 degrees as well, which has the same number of pixels; an image with nothing in it, too."""
    whole = {"segmentation": {"size": [HEIGHT, WIDTH], "counts": RLE}}
    for content in (coco(whole), coco(whole, width=None, height=None), coco()):
        known = table(tmp_path, content)
        assert len(known.fitted("a.png", HEIGHT, WIDTH)) == len(content["annotations"])
        if content["annotations"] or "width" in content["images"][0]:
            with pytest.raises(HeldError, match="drawn for 80 x 60 px, and it has 60 x 80 px") as held:
                known.fitted("a.png", WIDTH, HEIGHT)
            assert held.value.kind == "other-size"


def test_a_mask_without_a_size_must_fit_the_image_and_its_box(tmp_path):
    known = table(tmp_path, [{"key": "a.png", "box": [10, 20, 40, 30], "mask": RLE}])
    (region,) = known.fitted("a.png", HEIGHT, WIDTH)
    assert (region.mask, region.box) == (RLE, (10, 20, 40, 30))
    for height, width, words in ((WIDTH, HEIGHT, "reaches out of the box"), (HEIGHT, WIDTH + 1, "4,800 pixels")):
        with pytest.raises(HeldError, match=words):
            known.fitted("a.png", height, width)


def test_masks_and_points_are_read_from_parquet_and_csv(tmp_path):
    """The columns of one table; empty cells, however they are written, say nothing."""
    rows = [
        {"key": "a.png", "mask": RLE, "image_height": HEIGHT, "image_width": WIDTH, "points": [11.0, 22.0, 0.5],
         "track": "t", "category": 3, "box": [10.0, 20.0, 40.0, 30.0]},
        {"key": "b.png", "mask": None, "image_height": None, "image_width": None, "points": None, "track": None,
         "category": float("nan"), "box": [1.0, 1.0, 9.0, 9.0]},
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    text = (
        "key,left,top,right,bottom,mask,points,track,category\n"
        f'a.png,10,20,40,30,{RLE},"[11, 22, 0.5]",t,3\nb.png,1,1,9,9,,,,\n'
    )
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "sized.csv").write_text(f"key,mask,image_height,image_width\na.png,{RLE},{HEIGHT},{WIDTH}\n")
    for name in ("t.parquet", "t.csv"):
        known = RegionTable(str(tmp_path / name))
        (region,) = known.fitted("a.png", HEIGHT, WIDTH)
        assert (region.mask, region.points, region.track, region.category) == (RLE, (11, 22, 0.5), "t", 3)
        (plain,) = known.fitted("b.png", HEIGHT, WIDTH)
        assert (plain.mask, plain.points, plain.track, plain.category) == (None, (), None, None)
    (region,) = RegionTable(str(tmp_path / "sized.csv")).fitted("a.png", HEIGHT, WIDTH)
    assert (region.mask, region.box) == (RLE, (10, 20, 40, 30))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (coco({"segmentation": {"size": [6, 8], "counts": COUNTS}}), "of an image of 8 x 6 px, and the image has 80"),
        (coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 5]}}), "annotation 1, of a.png: its mask has"),
        (coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "zz"}}), "no run-length encoding"),
        (coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [-1, 4801]}}), "negative length"),
        (coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [0.5, 4799.5]}}), "whole numbers"),
        (coco({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [10**30]}}), "whole numbers"),
        (coco({"segmentation": {"size": "big", "counts": COUNTS}}), "not a height and a width"),
        (coco({"segmentation": {"counts": COUNTS}}), "not a height and a width"),
        (coco({"segmentation": [[1, 2, 3, 4]]}), "at least 3 corners"),
        (coco({"segmentation": [[1, 2, 3, 4, 1e300, 6]]}), "far outside"),
        (coco({"segmentation": "polygon"}), "neither a list of polygons"),
        (coco({"segmentation": [[10, 20, 40, 20, 25, 20]]}), "holds no pixel, and it has no bbox"),
        (coco({"segmentation": [TRIANGLE], "bbox": [60, 50, 9, 9]}), "its mask lies elsewhere than its box"),
        (coco({}), "neither a bbox of four numbers nor a segmentation"),
        (coco({"bbox": [1, 2, 3]}), "annotation 1, of a.png: its bbox is not four numbers"),
        (coco({"bbox": [1, 2, 30, 40], "keypoints": [1, 2]}), "points are not x, y"),
        (coco(width=-5), "the image a.png: its size is not a height and a width"),
        (coco(width=10**9, height=10**9), "larger than any image"),
        ({"images": [{"file_name": "a.png"}], "annotations": []}, "the image a.png has no id"),
        ({"images": [{"id": 1, "file_name": "a.png"}], "annotations": [5]}, "annotation 1 is of image 5"),
        ([{"key": "a", "mask": RLE}], "a mask needs a pixel inside, and its box or the image's image_height"),
        ([{"key": "a", "box": [1, 1, 9, 9], "mask": "é"}], "row 1, a: its mask has characters"),
        ([{"key": "a", "box": [1, 1, 9, 9], "mask": 5}], "neither COCO's compressed text"),
        ([{"key": "a", "mask": RLE, "image_height": 6, "image_width": 8}], "an image of 8 x 6 px has 48"),
        ([{"key": "a", "mask": RLE, "image_height": 6}], "not two whole numbers of pixels"),
        ([{"key": "a", "box": [1, 1, 9, 9], "image_height": 1e9, "image_width": 1e9}], "more than any image"),
        ([{"key": "a", "box": [1, 1, 9, 9], "category": "car"}], "names go into the column kind"),
        ('[{"key": "a", "box": [1, 1, 9, 9], "category": 1e999}]', "can't be used"),
        ([{"key": "a", "box": [1, 1, 9, 9], "points": [1, 2]}], "points are not x, y"),
        ([{"key": "a", "image_height": 5, "image_width": 6}, {"key": "a", "image_height": 6, "image_width": 5}],
         "row 2, a: its image is 5 x 6 px here and 6 x 5 px in another row"),
    ],
)  # fmt: skip
def test_tables_that_make_no_sense_are_one_sentence(tmp_path, content, words):
    with pytest.raises(BoxesError, match=words) as fault:
        table(tmp_path, content)
    assert "\n" not in str(fault.value)


def test_runs_of_absurd_lengths_take_no_memory(tmp_path):
    """A few bytes that speak of 2 billion pixels are checked, and neither unpacked at once nor when the image comes."""
    many = masks.compressed(np.array([5, 2**30, 2**30 - 7]))
    tracemalloc.start()
    known = table(tmp_path, [{"key": "a.png", "box": [10, 20, 40, 30], "mask": many}])
    with pytest.raises(HeldError, match="2,147,483,646 pixels"):
        known.fitted("a.png", HEIGHT, WIDTH)
    with pytest.raises(BoxesError, match="more pixels than any image"):
        table(tmp_path, [{"key": "a.png", "box": [1, 1, 9, 9], "mask": masks.compressed(np.array([5, 2**31 - 1]))}])
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


LEAVES = [
    None, True, 0, -1, 7, 10**30, 0.5, 1e300, float("nan"), float("inf"), "", "5", "zz", RLE, [], {}, [[]],
    HEIGHT, WIDTH, [1, 2, 3, 4], [10, 20, 30, 5], TRIANGLE, [TRIANGLE], [TRIANGLE, [1]], [None], ["a"], {"counts": {}},
    {"size": [HEIGHT, WIDTH], "counts": RLE}, {"size": [HEIGHT, WIDTH], "counts": COUNTS},
    {"size": [5], "counts": [4]}, {"size": 5, "counts": "0"}, {"size": [HEIGHT, float("inf")], "counts": COUNTS},
    {"size": [True, True], "counts": [True]},
]  # fmt: skip
anything = st.sampled_from(LEAVES)


@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("segmentation", "bbox", "keypoints", "category_id", "track_id", "score"), anything)
    ),
    st.fixed_dictionaries(
        {"box": st.just([1, 1, 9, 9]) | anything},
        optional=dict.fromkeys(("mask", "points", "category", "image_height", "image_width", "track"), anything),
    ),
)
@settings(max_examples=400, deadline=None)
def test_whatever_a_table_holds_it_is_read_or_refused(tmp_path_factory, annotation, row):
    """Never another exception, and never in a region what the index could not hold."""
    folder = tmp_path_factory.mktemp("any")
    for content in (coco(annotation), [{"key": "a.png", **row}]):
        try:
            regions = table(folder, content).fitted("a.png", HEIGHT, WIDTH)
        except (BoxesError, HeldError) as fault:
            assert "\n" not in str(fault)
            continue
        for region in regions:
            assert region.mask is None or masks.checked(region.mask, HEIGHT, WIDTH)
            assert len(region.points) % 3 == 0
