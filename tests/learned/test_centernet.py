"""CenterNet learns to find what is in drawn streets, and needs no suppression of overlapping boxes for it."""

import contextlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from recast.jobs.samples.street import write_street
from recast.models.perception.boxes import nms
from recast.pipeline import bundles
from recast.pipeline.regions.looking import LookingDetector
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingSpec

LEAST_AP, LEAST_AP50 = 0.40, 0.75
"""One training had 0.476 and 0.833."""
SAME = 0.01
SUPPRESSED = 0.5
"""Boxes that overlap a better one of their category by more go, where suppression is tried."""


def found_in(folder, bundle):
    """COCO's results for the scenes of a folder, and its truth."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "instances.json"))
    detector = LookingDetector(bundles.fetch(str(bundle)), "cpu")
    results = []
    for image in truth.loadImgs(truth.getImgIds()):
        pixels = np.asarray(Image.open(folder / image["file_name"]).convert("RGB"))
        for region in detector([pixels])[0]:
            left, top, right, bottom = region.box
            box = [left, top, right - left, bottom - top]
            results.append(
                {"image_id": image["id"], "category_id": region.category, "bbox": box, "score": region.score}
            )
    return truth, results


def average_precision(truth, results):
    """Over all overlaps, and at one of 0.5, as pycocotools has them."""
    with contextlib.redirect_stdout(io.StringIO()):
        measured = COCOeval(truth, truth.loadRes(results), "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    return float(measured.stats[0]), float(measured.stats[1])


def suppressed(results):
    """Those that stay when boxes of one image and category suppress one another."""
    numbers = {key: n for n, key in enumerate(sorted({(each["image_id"], each["category_id"]) for each in results}))}
    rivals = torch.tensor([numbers[each["image_id"], each["category_id"]] for each in results])
    boxes = torch.tensor([each["bbox"] for each in results])
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    scores = torch.tensor([each["score"] for each in results])
    return [results[n] for n in nms(corners, scores, SUPPRESSED, rivals).tolist()]


@pytest.mark.timeout(3 * 3600)
def test_drawn_things_are_found_and_suppression_changes_nothing(tmp_path):
    """Box AP of the tiny preset on 80 scenes that it never saw; section 4 of the paper: peaks need no suppression."""
    write_street(str(tmp_path / "street"), count=400)
    street = tmp_path / "street"
    train(
        TrainingSpec(
            recipe="centernet",
            preset="tiny",
            data=str(street / "train"),
            annotations=str(street / "train/instances.json"),
            output=str(tmp_path / "run"),
            on="here",
        )
    )
    truth, results = found_in(street / "test", tmp_path / "run/bundle")
    plain, after = average_precision(truth, results), average_precision(truth, suppressed(results))
    print(f"centernet tiny: AP {plain[0]:.3f}, AP50 {plain[1]:.3f}; suppressed AP {after[0]:.3f}, AP50 {after[1]:.3f}")
    assert plain[0] >= LEAST_AP
    assert plain[1] >= LEAST_AP50
    assert abs(plain[0] - after[0]) < SAME
