"""COCO's twelve numbers for boxes and masks, and ten for keypoints, are pycocotools' to the last bit."""

import contextlib
import io

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from recast.models.metrics.average_precision import (
    AREAS,
    SIGMAS,
    box_overlaps,
    curves,
    keypoint_likeness,
    matches,
)  # fmt: skip

IMAGES, CATEGORIES, SIDE = 12, (3, 7, 9), 200


def drawn(seed, kind):
    """Truth and results with everything that rules are about: crowds, ties, empty images, all sizes, hidden points."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(1, IMAGES + 1):
        for _ in range(rng.integers(0, 7) if image % 4 else 0):
            box = np.r_[rng.integers(0, 120, 2), rng.integers(4, 150, 2)].astype(float)
            one = {"id": len(truth) + 1, "image_id": image, "category_id": int(rng.choice(CATEGORIES)),
                   "bbox": box.tolist(), "area": float(box[2] * box[3] * rng.uniform(0.4, 1)),
                   "iscrowd": int(rng.random() < 0.15), **shape(rng, box, kind)}  # fmt: skip
            truth.append(one)
            for _ in range(rng.integers(0, 3)):
                near = np.abs(box + rng.integers(-6, 7, 4)) + 1
                found.append({"image_id": image, "category_id": one["category_id"], "bbox": near.tolist(),
                              "score": float(rng.choice([0.2, 0.5, 0.5, 0.9])), **shape(rng, near, kind)})  # fmt: skip
        for _ in range(rng.integers(0, 4)):
            box = np.r_[rng.integers(0, 150, 2), rng.integers(1, 120, 2)].astype(float)
            found.append({"image_id": image, "category_id": int(rng.choice(CATEGORIES)), "bbox": box.tolist(),
                          "score": float(rng.random()), **shape(rng, box, kind)})  # fmt: skip
    return truth, found


def shape(rng, box, kind):
    if kind == "segm":
        pixels = np.zeros((SIDE + 80, SIDE + 80), np.uint8)
        left, top, right, bottom = np.r_[box[:2], box[:2] + box[2:]].astype(int)
        pixels[top:bottom, left:right] = rng.random((bottom - top, right - left))[: len(pixels[top:bottom]), :] < 0.7
        return {"segmentation": rle.encode(np.asfortranarray(pixels))}
    if kind == "keypoints":
        points = np.c_[box[:2] + rng.random((17, 2)) * box[2:], rng.integers(0, 3, 17) * (rng.random() < 0.8)]
        return {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
    return {}


def theirs(truth, found, kind):
    images = [{"id": n, "width": SIDE + 80, "height": SIDE + 80} for n in range(1, IMAGES + 1)]
    categories = [{"id": n, "name": str(n)} for n in CATEGORIES]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {"images": images, "categories": categories, "annotations": truth, "info": {}}
        known.createIndex()
        given = [{k: v for k, v in each.items() if k != "bbox" or kind == "bbox"} for each in found]
        judge = COCOeval(known, known.loadRes(given), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats, judge.eval["precision"]


def ours(truth, found, kind):
    names = ["all", "medium", "large"] if kind == "keypoints" else ["all", "small", "medium", "large"]
    most = [20] if kind == "keypoints" else [1, 10, 100]
    ranges = [AREAS[name] for name in names]
    by_category = []
    for category in CATEGORIES:
        of_images = []
        for image in range(1, IMAGES + 1):
            there, seen = (
                [a for a in some if (a["image_id"], a["category_id"]) == (image, category)] for some in (truth, found)
            )
            if there or seen:
                of_images.append(matched(there, seen, kind, ranges, most[-1]))
        by_category.append(of_images)
    made = curves(by_category, ranges=len(ranges), most=most)
    ap = [made.average(area=0, most=-1), *(made.average(area=0, most=-1, threshold=t) for t in (0.5, 0.75))]
    sizes = range(1, len(names))
    if kind == "keypoints":
        ar = [made.recalled(area=0, most=-1), *(made.recalled(area=0, most=-1, threshold=t) for t in (0.5, 0.75))]
    else:
        ar = [made.recalled(area=0, most=n) for n in range(3)]
    numbers = [*ap, *(made.average(area=a, most=-1) for a in sizes)]
    return [*numbers, *ar, *(made.recalled(area=a, most=-1) for a in sizes)], made.precision


def matched(there, seen, kind, ranges, most):
    boxes = [np.array([a["bbox"] for a in some], float).reshape(-1, 4) for some in (seen, there)]
    crowd = np.array([a["iscrowd"] for a in there], bool)
    unwanted, areas = crowd.copy(), boxes[0][:, 2] * boxes[0][:, 3]
    true_areas = np.array([a["area"] for a in there])
    if kind == "bbox":
        alike = box_overlaps(*boxes, crowd)
    elif kind == "segm":
        alike = np.reshape(rle.iou([a["segmentation"] for a in seen], [a["segmentation"] for a in there],
                                   crowd.astype(np.uint8).tolist()), (len(seen), len(there)))  # fmt: skip
        areas = np.array([float(rle.area(a["segmentation"])) for a in seen])
    else:
        points = [np.array([a["keypoints"] for a in some], float).reshape(-1, 17, 3) for some in (seen, there)]
        alike = keypoint_likeness(*points, boxes[1], true_areas, SIGMAS)
        unwanted |= np.array([a["num_keypoints"] == 0 for a in there], bool)
        spans = points[0][..., :2].max(1) - points[0][..., :2].min(1) if len(seen) else np.zeros((0, 2))
        areas = spans[:, 0] * spans[:, 1]
    return matches(
        alike, scores=np.array([a["score"] for a in seen]), areas=areas, true_areas=true_areas, crowd=crowd,
        unwanted=unwanted, ranges=ranges, most=most,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_pycocotools(kind, seed):
    truth, found = drawn(seed, kind)
    stats, precision = theirs(truth, found, kind)
    numbers, own = ours(truth, found, kind)
    assert np.array_equal(own, precision)
    assert numbers == stats.tolist()


def test_nothing_found_is_zero_and_nothing_there_is_minus_one():
    truth, _ = drawn(0, "bbox")
    numbers, _ = ours(truth, [], "bbox")
    assert numbers[0] == numbers[3] == numbers[6] == numbers[-1] == 0
    assert set(ours([], drawn(0, "bbox")[1], "bbox")[0]) == {-1.0}
