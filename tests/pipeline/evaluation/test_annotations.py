"""Annotations against the truth: COCO's numbers, and everything that could not be compared is said."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from recast.jobs import cli
from recast.pipeline import storage
from recast.pipeline.evaluation.annotations import judged
from recast.pipeline.output import index, rows
from recast.pipeline.regions import masks
from recast.pipeline.regions.export.coco import TruthError
from recast.pipeline.regions.region import Region
from tests.pipeline.report.outputs import failed, row

HEIGHT, WIDTH = 180, 240
KINDS = {3: "person", 8: "plate"}


def drawn(seed=0, images=8):
    """A truth, and regions near it, for each image."""
    rng = np.random.default_rng(seed)
    annotations, found = [], {}
    for image in range(images):
        regions = []
        for _ in range(rng.integers(0, 5)):
            left, top, wide, high = (int(v) for v in np.r_[rng.integers(0, 90, 2), rng.integers(10, 80, 2)])
            category = int(rng.choice([3, 8]))
            points = np.c_[left + rng.random(17) * wide, top + rng.random(17) * high, rng.integers(0, 3, 17)]
            pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
            pixels[top : top + high, left : left + wide] = 1
            mask = rle.encode(np.asfortranarray(pixels))
            mask["counts"] = mask["counts"].decode()
            annotations.append({
                "id": len(annotations) + 1, "image_id": 10 + image, "category_id": category, "iscrowd": 0,
                "bbox": [left, top, wide, high], "area": wide * high, "segmentation": mask,
                "keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum()),
            })  # fmt: skip
            for _ in range(rng.integers(0, 3)):
                regions.append(near(rng, (left, top, wide, high), category, points))
        found[f"{image}.png"] = regions
    images = [{"id": 10 + n, "file_name": f"{n}.png", "height": HEIGHT, "width": WIDTH} for n in range(images)]
    categories = [{"id": number, "name": name} for number, name in KINDS.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, found


def near(rng, box, category, points):
    left, top, wide, high = (int(v) for v in np.array(box) + rng.integers(-3, 4, 4))
    left, top = max(left, 0), max(top, 0)
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[top : top + high, left : left + wide] = True
    moved = points.copy()
    moved[:, :2] += rng.normal(0, 2, (17, 2))
    moved[:, 2] = 1
    return Region(
        kind=KINDS[category], category=category + 1, box=(left, top, left + wide, top + high),
        score=float(np.float32(rng.random())), detector="d", mask=masks.encoded(pixels),
        points=tuple(moved.astype(np.float32).ravel().tolist()),
    ).row(None)  # fmt: skip


def written(tmp_path, truth, found, *more):
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    fs, root = storage.filesystem(str(tmp_path / "out"))
    sides = {"source_width": WIDTH, "source_height": HEIGHT}
    settled = [*(row(key, key, regions=regions, **sides) for key, regions in found.items()), *more]
    for n in range(0, len(settled), 3):  # keys are not in order, and neither need be fragments
        index.write_fragment(fs, root, f"{n:020x}-1-000.tar", rows.table(settled[n : n + 3][::-1], {}))
    return str(tmp_path / "out"), str(tmp_path / "truth.json")


def theirs(truth, found, kind):
    results = []
    for n, regions in enumerate(found.values()):
        for region in regions:
            left, top, right, bottom = region["box"]
            part = {
                "bbox": {"bbox": [left, top, right - left, bottom - top]},
                "segm": {"segmentation": {"size": [HEIGHT, WIDTH], "counts": region["mask"]}},
                "keypoints": {"keypoints": region["points"]},
            }[kind]
            category = next(number for number, name in KINDS.items() if name == region["kind"])
            results.append({"image_id": 10 + n, "category_id": category, "score": region["score"], **part})
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = json.loads(json.dumps({**truth, "info": {}}))
        known.createIndex()
        judge = COCOeval(known, known.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [None if value < 0 else value for value in judge.stats.tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_the_numbers_of_boxes_masks_and_keypoints_are_pycocotools(tmp_path, seed):
    """Whatever the order of fragments; categories are matched by name, not by number."""
    truth, found = drawn(seed)
    facts = judged(*written(tmp_path, truth, found))
    sizes = ("small", "medium", "large")
    boxes = ["AP", "AP50", "AP75", *(f"AP {s}" for s in sizes), "AR 1", "AR 10", "AR 100", *(f"AR {s}" for s in sizes)]
    assert [facts["box"][name] for name in boxes] == theirs(truth, found, "bbox")
    assert [facts["mask"][name] for name in boxes] == theirs(truth, found, "segm")
    stats = theirs(truth, found, "keypoints")
    points = ["AP", "AP50", "AP75", "AP medium", "AP large", "AR 20"]
    assert [facts["points"][name] for name in points] == stats[:6]
    assert 0 < facts["box"]["by_category"]["person"] <= 1
    assert facts["notes"] == []


def test_what_could_not_be_compared_is_said(tmp_path, capsys):
    truth, found = drawn()
    found["99.png"] = found.pop("3.png")
    found["0.png"] = [Region(kind="tree", box=(1, 1, 9, 9), score=0.5, detector="d").row(None)]
    truth["categories"].append({"id": 9, "name": "cow"})
    output, path = written(tmp_path, truth, found, failed("3.png", "empty: 0 bytes"))
    assert cli._status(["evaluate", "annotations", output, "--truth", path]) == 0
    said = capsys.readouterr()
    for part in (
        "1 image of the truth have no regions in the output and count as images in which nothing was found: 3.png",
        "1 image of the output that the truth does not list are left out",
        "regions of kinds that the truth does not have are left out: 1 tree",
        "categories that were neither found nor looked for: cow",
    ):
        assert part in said.err
    assert "box AP50" in said.out


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda truth: truth["annotations"][0].update(category_id=77), "its category_id is 77, which categories don't"),
        (lambda truth: truth["annotations"][0].update(image_id=77), "is of image 77, which images don't list"),
        (lambda truth: truth["images"][0].update(height=90), "and the image has 240 x 90"),
        (lambda truth: truth["images"][1].update(file_name="0.png"), "2 images are called 0.png"),
        (lambda truth: truth.pop("categories"), "it is not COCO's"),
    ],
)
def test_a_truth_that_makes_no_sense_is_one_sentence(tmp_path, spoil, why):
    truth, found = drawn()
    spoil(truth)
    with pytest.raises(TruthError, match=why):
        judged(*written(tmp_path, truth, found))
