"""A file of annotations decides what images of a training count, what things are in them, and what can't be meant."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from recast.models.networks.centernet import CenterNet
from recast.pipeline import bundles
from recast.pipeline.regions import masks
from recast.pipeline.regions.looking import LookingDetector
from recast.pipeline.regions.tables import BoxesError, RegionTable
from recast.pipeline.training import example_files
from recast.pipeline.training.examples import ExampleCache
from recast.pipeline.training.preparation import prepared
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.things import OUTSIDE

PERSON = {"id": 3, "name": "person", "keypoints": ["left_eye", "right_eye"], "skeleton": [[1, 2]]}
CAR = {"id": 9, "name": "car"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with four images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for n in range(4):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(tmp_path / f"data/{n}.png")
    return tmp_path


def coco(*annotations, images=3, categories=(PERSON, CAR), **changes):
    """The first images are listed, with ids from 1."""
    return {
        "images": [{"id": n + 1, "file_name": f"{n}.png", "width": 80, "height": 60} for n in range(images)],
        "categories": list(categories),
        "annotations": [{"id": 50 + n, **each} for n, each in enumerate(annotations)],
        **changes,
    }


def thing(image=1, bbox=(10, 10, 30, 20), category=3, **more):
    return {"image_id": image, "bbox": list(bbox), "category_id": category, **more}


def asked(place, truth, **changes):
    (place / "truth.json").write_text(json.dumps(truth))
    settings = {"recipe": "centernet", "preset": "least", "data": "data", "annotations": "truth.json", "output": "out"}
    return TrainingSpec(**settings | changes)


def read(listing):
    return [example_files.read_row(row, 1) for row in example_files.rows(listing.examples)]


def test_images_without_annotations_are_negatives_and_those_not_listed_are_left_out(place):
    """Each is counted, and so is what the file lists and nobody finds."""
    truth = coco(thing(), thing(2, category=9), images=3)
    truth["images"].append({"id": 7, "file_name": "gone.png"})
    found = prepared(asked(place, truth))
    assert [(e.key, len(e.regions)) for e in found.listing.examples] == [("0.png", 1), ("1.png", 1), ("2.png", 0)]
    assert found.said[:2] == (
        "3 images with 2 things; 1 of them without any; 1 image that the annotations don't list left out",
        "1 image of the annotations is not there",
    )


def test_rows_have_box_category_and_keypoints(place):
    """Categories by their places in the file; keypoints of things that have none are not visible."""
    truth = coco(thing(keypoints=[12, 13, 2, 20, 14, 1]), thing(2, (5, 5, 10, 10), category=9))
    examples = prepared(asked(place, truth)).listing.examples
    assert examples[0].regions.tolist() == [[10, 10, 40, 30, 0, 12, 13, 2, 20, 14, 1]]
    assert examples[1].regions.tolist() == [[5, 5, 15, 15, 1, 0, 0, 0, 0, 0, 0]]
    hidden = prepared(asked(place, coco(thing(keypoints=[0, 0, 0, 0, 0, 0]))))
    assert hidden.listing.examples[0].regions.tolist() == [[10, 10, 40, 30, 0]]


def test_a_table_of_boxes_names_its_kinds(place):
    """Numbered by their names, where it does not number them."""
    rows = [
        {"key": "0.png", "box": [1.0, 1, 9, 9], "kind": "plate"},
        {"key": "1.png", "box": [2.0, 2, 9, 9], "kind": "car"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), place / "data/boxes.parquet")
    found = prepared(asked(place, {}, annotations="data/boxes.parquet"))
    assert [e.regions[0, 4] for e in found.listing.examples] == [1, 0]
    assert [(c.id, c.name) for c in found.assets.assets.things.categories] == [(1, "car"), (2, "plate")]
    assert "left out 1 file (tables without images): boxes.parquet" in found.said


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (coco(thing(category=4)), "annotation 50, of 0.png: its category_id is 4, which categories don't list"),
        (coco(thing(12)), "annotation 1 is of image 12, which images don't list"),
        (coco(thing(bbox=(10, 10, float("nan"), 5))), "annotation 50, of 0.png: the box .* is no finite number"),
        (coco(thing(keypoints=[1, 1, 2])), "a person in 0.png has 1 keypoints, and its category names 2"),
        (coco(thing(), images=2) | {"images": [{"id": 1, "file_name": "0.png"}, {"id": 1, "file_name": "1.png"}]},
         "two images have the id 1: 0.png and 1.png"),
        (coco(thing(), categories=(PERSON, {"id": 3, "name": "car"})), "two of them have one id"),
        (coco(thing(), categories=(PERSON, {"id": 4})), "category 2 has no id or no name"),
        (coco(), "no thing of the annotations belongs to an image"),
    ],
)  # fmt: skip
def test_what_can_not_be_meant_is_a_sentence_before_anything_starts(place, truth, says):
    with pytest.raises((BoxesError, TrainingError), match=says):
        prepared(asked(place, truth))


def test_a_box_without_area_is_left_out_and_counted(place):
    """COCO's own files have some."""
    found = prepared(asked(place, coco(thing(), thing(2, (5, 5, 0, 4)))))
    assert [len(e.regions) for e in found.listing.examples] == [1, 0, 0]
    assert "left out 1 box without any area: annotation 51, of 1.png: the box 5, 5, 5, 9 is empty" in found.said


def test_boxes_outside_are_left_out_and_images_of_another_size_are_not_trained_on(place):
    """Both are told with the pixels at hand, before the first step."""
    truth = coco(thing(), thing(1, (90, 5, 10, 10)), thing(2))
    truth["images"][1] |= {"width": 60, "height": 80}
    one, other, _ = read(prepared(asked(place, truth)).listing)
    assert np.frombuffer(one["regions"], np.float32).reshape(-1, 5)[:, :4].tolist() == [[10, 10, 40, 30]]
    assert one["notes"] == [OUTSIDE]
    assert other["problem"] == "it is 80 x 60 px, and its annotations were drawn for 60 x 80 px"


SQUARE = [[12, 12, 28, 12, 28, 24, 12, 24]]


def test_masks_travel_with_their_things(place):
    """From polygons to the pixels over each box; of a thing without one only the box is learned, which is said."""
    outside = thing(1, (90, 5, 10, 10))
    truth = coco(outside, thing(segmentation=SQUARE), thing(2, (5, 5, 10, 10), category=9), images=4)
    found = prepared(asked(place, truth, recipe="mask_rcnn"))
    assert found.said[0] == (
        "4 images with 3 things; 2 of them without any; 2 things without a mask, of which only the box is learned"
    )
    rows = read(found.listing)
    cache = ExampleCache(rows, 1 << 20, region_columns=5, with_masks=True)
    (mask,) = cache[0].masks
    assert (mask.left, mask.top, mask.pixels.shape) == (10, 10, (20, 30))
    assert mask.pixels.nonzero()[0].tolist() == np.repeat(np.arange(2, 14), 16).tolist()
    assert (cache[1].masks, cache[2].masks) == ((None,), ())
    quarter = mask.over((12, 12, 44, 24), 8)
    assert quarter[1:-1, 1:3].min() == 255
    assert quarter[:, 5:].max() == 0


def test_masks_that_none_has_or_of_another_image_are_a_sentence(place):
    with pytest.raises(TrainingError, match="no thing in the images at .*data has a mask"):
        prepared(asked(place, coco(thing()), recipe="mask_rcnn"))
    rows = [{"key": f"{n}.png", "box": [1.0, 1, 9, 9], "kind": "car", "mask": masks.encoded(np.ones(size, bool))}
            for n, size in enumerate([(60, 80), (10, 10)])]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), place / "boxes.parquet")
    one, other = read(prepared(asked(place, {}, recipe="mask_rcnn", annotations="boxes.parquet")).listing)
    assert one["problem"] == ""
    assert other["problem"] == "of a thing in it, its mask has 100 pixels, and an image of 80 x 60 px has 4,800"


def test_a_training_of_masks_makes_a_bundle_that_finds_them(trainer_here, place):
    truth = coco(*(thing(n, segmentation=SQUARE) for n in (1, 2)), images=3)
    train(asked(place, truth, recipe="mask_rcnn", steps=2))
    detector = LookingDetector(bundles.fetch(str(place / "out/bundle")), "cpu", least_score=0.0)
    (regions,) = detector([np.asarray(Image.open(place / "data/0.png"))])
    assert regions
    assert all(masks.checked(region.mask, 60, 80) for region in regions)
    assert {region.kind for region in regions} <= {"person", "car"}


def test_a_training_from_the_file_to_a_bundle_that_says_what_it_finds(trainer_here, place):
    """Poses, with a negative among the images; the bundle finds what the file has names and numbers for."""
    truth = coco(*(thing(n, keypoints=[12, 13, 2, 20, 14, 1]) for n in (1, 2)), thing(2, category=9))
    train(asked(place, truth, steps=2, overrides={"keypoints": True}))
    bundle, network = bundles.fetch(str(place / "out/bundle")).unpack()
    looks = bundle.descriptor.looks
    assert [(c.id, c.name) for c in looks.categories] == [(3, "person"), (9, "car")]
    assert (looks.points, looks.limbs, bundle.descriptor.task) == (("left_eye", "right_eye"), ((0, 1),), "annotate")
    assert isinstance(network, CenterNet)
    image = np.asarray(Image.open(place / "data/0.png"))
    (regions,) = LookingDetector(bundles.fetch(str(place / "out/bundle")), "cpu")([image])
    assert {region.kind for region in regions} <= {"person", "car"}
    assert all(region.score >= looks.score_floor and len(region.points) == 6 for region in regions)
    with torch.no_grad():
        network.hm[0][1].bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError):
        network.found(torch.zeros(1, 3, 64, 64), 0.05)


def test_a_file_of_more_than_a_gibibyte_is_refused_with_its_size(place):
    asked(place, {})
    with open(place / "truth.json", "r+b") as file:
        file.truncate((1 << 30) + 5)
    with pytest.raises(BoxesError, match="it has 1,073,741,829 bytes, and 1 GiB is the most"):
        RegionTable(str(place / "truth.json"))
