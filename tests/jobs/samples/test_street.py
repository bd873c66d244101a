"""`recast sample street`: scenes whose truth is known to the pixel."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from pycocotools.coco import COCO

from recast.jobs.samples.street import write_street


def test_pycocotools_reads_instances_that_agree_with_the_boxes(tmp_path: Path) -> None:
    """Every mask fills its box and its area, every person has 17 keypoints, and the table holds the same boxes."""
    write_street(str(tmp_path), count=4, size_px=128)
    coco = COCO(str(tmp_path / "train/instances.json"))
    rows = pq.read_table(tmp_path / "train/boxes.parquet").to_pylist()
    assert len(coco.imgs) == 4
    assert len(rows) == len(coco.anns) > 10
    for row, found in zip(rows, coco.anns.values(), strict=True):
        mask = coco.annToMask(found)
        down, across = mask.nonzero()
        assert row["box"] == [across.min(), down.min(), across.max() + 1, down.max() + 1]
        assert mask.sum() == found["area"]
        assert row["kind"] == coco.cats[found["category_id"]]["name"]
        assert len(found.get("keypoints", [])) == (51 if row["kind"] == "person" else 0)


def test_every_pixel_belongs_to_one_segment_and_things_are_those_of_the_instances(tmp_path: Path) -> None:
    """As COCO writes them: areas and boxes are those of the ids in the PNG; a plate is no part of its car."""
    write_street(str(tmp_path), count=3, size_px=128)
    whole = json.loads((tmp_path / "panoptic/train.json").read_text())
    coco = COCO(str(tmp_path / "train/instances.json"))
    names = {each["id"]: each["name"] for each in whole["categories"]}
    assert [names[n] for n in (1, 3, 4, 7)] == ["person", "plate", "sky", "road"]
    for image, annotation in zip(whole["images"], whole["annotations"], strict=True):
        assert (image["file_name"], annotation["image_id"]) == (annotation["file_name"], image["id"])
        colours = np.asarray(Image.open(tmp_path / "panoptic/train" / annotation["file_name"])).astype(int)
        ids = colours @ (1, 256, 65_536)
        segments = {each["id"]: each for each in annotation["segments_info"]}
        assert set(np.unique(ids)) == set(segments) - {0}
        for number, segment in segments.items():
            down, across = (ids == number).nonzero()
            left, top, wide, high = segment["bbox"]
            assert (left, top, left + wide, top + high) == (
                across.min(), down.min(), across.max() + 1, down.max() + 1,
            )  # fmt: skip
            assert segment["area"] == len(down)
        kinds = np.vectorize({n: each["category_id"] for n, each in segments.items()}.get)(ids)
        for found in coco.imgToAnns[image["id"]]:
            there = coco.annToMask(found).astype(bool)
            kind = found["category_id"]
            assert set(np.unique(kinds[there])) <= ({kind, 3} if names[kind] == "car" else {kind})
        assert {names[n] for n in np.unique(kinds)} >= {"sky", "building", "pavement", "road"}


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """Two runs with one seed write the same files, another seed writes others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_street(str(tmp_path / name), count=2, seed=seed, size_px=64)
    files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*.*"))]
    assert len(files) == 2 + 1 + 2 * 2 + 2 + 1 + 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert (tmp_path / "a/train/00000.png").read_bytes() != (tmp_path / "c/train/00000.png").read_bytes()
