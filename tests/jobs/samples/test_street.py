"""`recast sample street`: scenes whose truth is known to the pixel."""

from pathlib import Path

import pyarrow.parquet as pq
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


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    """Two runs with one seed write the same files, another seed writes others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_street(str(tmp_path / name), count=2, seed=seed, size_px=64)
    files = [p.relative_to(tmp_path / "a") for p in sorted((tmp_path / "a").rglob("*.*"))]
    assert len(files) == 2 + 1 + 2 * 2
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert (tmp_path / "a/train/00000.png").read_bytes() != (tmp_path / "c/train/00000.png").read_bytes()
