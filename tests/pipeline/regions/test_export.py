"""What an output's rows tell of regions reaches other programs, and comes back the same."""

import contextlib
import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from recast.jobs import cli
from recast.pipeline import storage
from recast.pipeline.output import index, rows
from recast.pipeline.regions import masks
from recast.pipeline.regions.export.annotated import AnnotatedImages
from recast.pipeline.regions.export.categories import numbered_kinds
from recast.pipeline.regions.export.coco import write_annotations
from recast.pipeline.regions.region import Region
from recast.pipeline.regions.tables import RegionTable
from tests.pipeline.report.outputs import failed, row

HEIGHT, WIDTH = 60, 80


def person(left=10.25, score=0.7, **more) -> dict:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[20:50, int(left) + 1 : int(left) + 12] = True
    found = Region(
        kind="person", box=(left, 20.0, left + 12.1, 50.5), score=score, detector="d", category=1,
        mask=masks.encoded(pixels), points=(left + 3.3, 25.5, 0.9, 0.0, 0.0, 0.0), track="t1",
    ).row(None)  # fmt: skip
    return {**found, **more}


def face(**more) -> dict:
    return {**Region(kind="face", box=(1.0, 2.0, 9.5, 12.0), score=0.3, detector="d").row(None), **more}


FOUND = {"b.jpg": [person(), face()], "a/ö, 1.png": [], "c.jpg": [person(40.1, 0.4), person(5.0, 0.9)]}


def output(tmp_path, found=FOUND, bad=(), per_fragment=2, categories=()) -> str:
    """An output whose fragments hold a few rows each, and say what was looked for."""
    fs, root = storage.filesystem(str(tmp_path / "out"))
    sides = {"source_width": WIDTH, "source_height": HEIGHT}
    settled = [*(row(key, f"s/{key}", regions=regions, **sides) for key, regions in found.items()), *bad]
    about = {"recast.settings": json.dumps({"categories": categories})}
    for n in range(0, len(settled), per_fragment):
        index.write_fragment(fs, root, f"{n:020x}-1-000.tar", rows.table(settled[n : n + per_fragment], about))
    return str(tmp_path / "out")


def exported(tmp_path, source, to, *more, name=None) -> Path:
    target = tmp_path / (name or f"found.{to.replace('coco', 'json')}")
    assert cli._status(["index", "export", source, str(target), "--to", to, *more]) == 0
    return target


@pytest.mark.parametrize("to", ["coco", "csv"])
def test_what_is_exported_is_read_back_the_same(tmp_path, to):
    """Boxes, masks, points, kinds, categories, tracks and scores to the bit; an image with nothing stays one."""
    table = RegionTable(str(exported(tmp_path, output(tmp_path), to)))
    assert table.images == len(FOUND)
    assert "a/ö, 1.png" in table
    for key, found in FOUND.items():
        back = table.fitted(key, HEIGHT, WIDTH)
        for region, expected in zip(back, found, strict=True):
            said = region.row(None)
            for name in ("box", "points", "score"):
                assert (np.float32(said[name] or 0) == np.float32(expected[name] or 0)).all()
            assert all(said[name] == expected[name] for name in ("kind", "mask", "track"))
            assert said["category"] == expected["category"] or (to == "coco" and expected["category"] is None)


def test_coco_numbers_images_by_their_keys_and_kinds_by_their_categories(tmp_path):
    """Also those of which nothing was found; a kind without a number gets a free one; each annotation has what programs
    count on."""
    made = output(tmp_path, categories=[[1, "person"], [3, "plate"]])
    loaded = json.loads(exported(tmp_path, made, "coco").read_text())
    assert set(loaded) == {"images", "categories", "annotations"}
    sides = {"width": WIDTH, "height": HEIGHT}
    assert loaded["images"] == [{"id": n, "file_name": key, **sides} for n, key in enumerate(sorted(FOUND), 1)]
    assert loaded["categories"] == [{"id": n, "name": name} for n, name in enumerate(("person", "face", "plate"), 1)]
    first = next(each for each in loaded["annotations"] if each["image_id"] == 2 and each["category_id"] == 1)
    assert (first["area"], first["iscrowd"], first["num_keypoints"]) == (30 * 11, 0, 1)
    with contextlib.redirect_stdout(io.StringIO()):
        read = COCO(str(tmp_path / "found.json"))
    assert len(read.getImgIds()) == 3
    assert len(read.getAnnIds(imgIds=[3])) == 2
    assert read.annToMask(first).sum() == 330


def test_results_for_a_truth_file_are_measured_by_pycocotools(tmp_path, capsys):
    """With that file's ids; what it does not list is left out and said; the truth itself scores 1."""
    about = exported(tmp_path, output(tmp_path), "coco")
    truth = json.loads(about.read_text())
    turned = {image["id"]: 100 - image["id"] for image in truth["images"]}
    truth["images"] = [{**each, "id": turned[each["id"]]} for each in truth["images"]]
    truth["categories"] = [{"id": 77, "name": "person"}]
    people = [each for each in truth["annotations"] if each["category_id"] == 1]
    truth["annotations"] = [{**each, "category_id": 77, "image_id": turned[each["image_id"]]} for each in people]
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    capsys.readouterr()
    results = exported(
        tmp_path, str(tmp_path / "out"), "coco", "--truth", str(tmp_path / "truth.json"), name="results.json"
    )
    assert "1 region of the kind face" in capsys.readouterr().err
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(str(tmp_path / "truth.json"))
        for measured in ("bbox", "segm"):
            made = COCOeval(known, known.loadRes(str(results)), measured)
            made.evaluate(), made.accumulate(), made.summarize()
            assert made.stats[0] == pytest.approx(1)
    assert {each["category_id"] for each in json.loads(results.read_text())} == {77}


def test_yolo_has_a_file_for_each_image_and_shares_of_its_sides(tmp_path):
    folder = exported(tmp_path, output(tmp_path), "yolo", name="yolo")
    assert (folder / "data.yaml").read_text() == 'names:\n  0: "face"\n  1: "person"\n'
    assert (folder / "labels/a/ö, 1.txt").read_text() == ""
    lines = (folder / "labels/b.txt").read_text().split("\n")
    assert lines[1:] == ["0 0.065625 0.116667 0.106250 0.166667", ""]
    assert lines[0].startswith("1 0.203750 0.587500 ")


def test_failed_and_unexamined_images_are_left_out_and_said(tmp_path, capsys):
    bad = [failed("x.jpg", "truncated: x"), failed("y.jpg", "no-face: x", "held"), row("z.jpg", "s/z", regions=None)]
    made = output(tmp_path, {**FOUND, "d.jpg": [face(box=[5, 5, 5, 9])]}, bad)
    loaded = json.loads(exported(tmp_path, made, "coco").read_text())
    assert [image["file_name"] for image in loaded["images"]] == sorted([*FOUND, "d.jpg"])
    said = capsys.readouterr().err
    assert "1 failed image, 1 held image, 1 unexamined image, 1 region that no program could read" in said
    assert "d.jpg: the box 5, 5, 5, 9 is empty" in said


@pytest.mark.parametrize(
    ("found", "options", "says"),
    [
        ({"a.jpg": None}, ["--to", "coco"], "has no regions to export: no image of it was looked at"),
        ({"a.jpg": [], "a.png": []}, ["--to", "yolo"], "a.jpg and a.png would both have the labels a.txt"),
        ({"../a.jpg": []}, ["--to", "yolo"], "../a.jpg can have no file of labels"),
        ({"a\nb.jpg": []}, ["--to", "csv"], "has a line break"),
        (FOUND, ["--to", "csv", "--truth", "t.json"], "--truth is for --to coco"),
        (FOUND, ["--to", "coco", "--truth", "other.json"], "none of the keys is an image of"),
        (FOUND, ["--to", "coco", "--truth", "kinds.json"], "none of the kinds that were looked for (face, person)"),
        (FOUND, ["--to", "coco", "--truth", "twice.json"], "2 images are called a.jpg"),
        (FOUND, ["--to", "coco", "--truth", "boxes.json"], "it is not COCO's"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_no_file(
    tmp_path, capsys, monkeypatch, found, options, says
):
    monkeypatch.chdir(tmp_path)
    for name, images, kind in (
        ("other", ["o.jpg"], "face"),
        ("kinds", ["b.jpg"], "cat"),
        ("twice", ["a.jpg"] * 2, "x"),
    ):
        listed = [{"id": n, "file_name": image} for n, image in enumerate(images)]
        about = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": kind}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(about))
    (tmp_path / "boxes.json").write_text('{"a.jpg": [[0, 0, 5, 5]]}')
    assert cli._status(["index", "export", output(tmp_path, found), "made", *options]) in (1, 2)
    assert says in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_two_kinds_never_share_a_number():
    kinds = [("person", 1), ("face", 1), ("plate", None), ("person", None), ("car", 3)]
    assert numbered_kinds(kinds) == {
        ("face", 1): 1, ("person", 1): 2, ("car", 3): 3, ("plate", None): 4, ("person", None): 2,
    }  # fmt: skip


def test_memory_does_not_grow_with_what_was_found(tmp_path):
    """Writing four times as many images with large masks needs no more of it, and less than what is written."""
    noise = masks.encoded(np.random.default_rng(0).random((HEIGHT, WIDTH)) < 0.5)
    peaks = []
    for images in (12, 48):
        found = {f"{key:05}.jpg": [person(box=[0, 0, WIDTH, HEIGHT], mask=noise)] * 10 for key in range(images)}
        annotated = AnnotatedImages(output(tmp_path / str(images), found))
        with (tmp_path / "found.json").open("w") as file:
            write_annotations(annotated, file)  # what is loaded once, such as threads and codecs
            file.seek(0)
            tracemalloc.start()
            write_annotations(annotated, file)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 0.5 * (tmp_path / "found.json").stat().st_size
