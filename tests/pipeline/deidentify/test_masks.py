"""Regions with masks: their pixels are replaced, grown by the margin, and nothing else; originals come back exactly."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import bundles
from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.deidentify.replacement.classical import covered_share, grown, pixels_of, replaced
from recast.pipeline.deidentify.replacement.painter import FacePainter, ordered
from recast.pipeline.deidentify.restoration import Repainter, Unsealer
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.deidentify.settings import Policy, Replacement
from recast.pipeline.images.pictures import Picture, with_alpha
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.regions import masks
from recast.pipeline.regions.region import Region, fitted
from recast.pipeline.regions.tables import RegionTable
from tests.pipeline.bulk.bundle_operation import begun
from tests.pipeline.bulk.test_generator import item
from tests.pipeline.deidentify.test_anonymizer import Told, face

SHAPE = 60, 80


def region(pixels, kind="person", score=0.9, detector="test"):
    """The region of a mask, its box as tight as it can be."""
    box = masks.bounding_box(masks.encoded(pixels), SHAPE[0])
    return Region(
        kind=kind, box=tuple(map(float, box)), score=score, detector=detector, mask=masks.encoded(pixels)
    )  # fmt: skip


def cross(top=10, left=20, size=30, bar=6):
    """A figure of which no ellipse and no box is the outline."""
    pixels = np.zeros(SHAPE, bool)
    pixels[top + size // 3 : top + size // 3 + bar, left : left + size] = True
    pixels[top : top + size, left + size // 2 : left + size // 2 + bar] = True
    return pixels


def noise(seed=0, shape=SHAPE, dtype=np.uint8):
    return np.random.default_rng(seed).integers(1, np.iinfo(dtype).max + 1, (*shape, 3), dtype)


def anonymizer(*regions, **settings):
    return Anonymizer(detectors=[Told(list(regions))], keep_originals=True, **settings)


@pytest.mark.parametrize("method", ["solid", "pixelate", "blur"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_mask_alone_is_replaced_and_all_of_it(method, dtype):
    """With no margin: the rest of the box, between the bars, is as it was."""
    pixels, mask = noise(dtype=dtype), cross()
    result, ((left, top, right, bottom),) = replaced(pixels, [region(mask)], Replacement(method=method, margin=0))
    assert np.array_equal(result[~mask], pixels[~mask])
    changed = (result != pixels).any(-1)[mask].mean()
    assert changed == 1 if method == "solid" else changed > 0.95
    assert (left, top, right, bottom) == masks.bounding_box(masks.encoded(mask), SHAPE[0])


@given(st.integers(-20, 70), st.integers(-20, 70), st.integers(3, 50), st.integers(1, 9), st.floats(0, 2))
@settings(max_examples=100, deadline=None)
def test_a_mask_grows_by_the_margin_and_never_out_of_the_reported_box(top, left, size, bar, margin):
    """Every pixel within half the margin, of the box's sides, of one that is inside; none outside of the grown box."""
    whole = np.zeros((220, 240), bool)
    whole[70:130, 80:160] = cross(10, 20, 30, 6)
    pixels = np.roll(whole, (top, left), (0, 1))[70:130, 80:160]
    if not pixels.any():
        return
    one = region(pixels)
    result, ((low_x, low_y, high_x, high_y),) = replaced(noise(), [one], Replacement(margin=margin))
    black = ~result.any(-1)
    across, down = one.width * margin / 2, one.height * margin / 2
    y, x = np.nonzero(pixels)
    for dy, dx in ((0, 0), (int(down), 0), (-int(down), 0), (0, int(across)), (0, -int(across))):
        near = np.stack([y + dy, x + dx], 1)
        near = near[((near >= 0) & (near < SHAPE)).all(1)]
        assert black[near[:, 0], near[:, 1]].all()
    black[low_y:high_y, low_x:high_x] = False
    assert not black.any()
    assert (low_x, low_y, high_x, high_y) == grown(one, margin, SHAPE)


def test_a_mask_shaped_as_an_ellipse_grows_as_ellipses_do():
    """What is replaced for a detector's ellipse, and for a mask of the same outline, differs along the edge alone."""
    box = (20.0, 10.0, 60.0, 50.0)
    plain = Region(kind="face", box=box, score=1, detector="test")
    outline = pixels_of(plain, Replacement(margin=0), (0, 0, 80, 60), SHAPE)
    for margin in (0.3, 0.5):
        ours, theirs = (
            pixels_of(one, Replacement(margin=margin), (0, 0, 80, 60), SHAPE) for one in (region(outline), plain)
        )
        assert (ours != theirs).sum() < 0.05 * theirs.sum()


def test_what_may_fill_its_box_is_replaced_to_the_corners():
    """A plate's letters reach into the corners that an ellipse leaves."""
    plate = Region(kind="plate", box=(10, 10, 40, 20), score=0.9, detector="d", fills_box=True)
    for region, corner in ((plate, True), (dataclasses.replace(plate, kind="face", fills_box=False), False)):
        chosen = pixels_of(region, Replacement(margin=0), (10, 10, 40, 20), (30, 50))
        assert (bool(chosen[0, 0]), bool(chosen[5, 15])) == (corner, True)


@pytest.mark.parametrize("shape", ["auto", "ellipse", "box"])
def test_whatever_shape_is_asked_for_no_pixel_of_the_mask_stays(shape):
    """An ellipse does not hold the corners of its box; a mask may."""
    pixels = np.zeros(SHAPE, bool)
    pixels[10:50, 20:70] = True
    result, _ = replaced(noise(), [region(pixels)], Replacement(shape=shape, margin=0))
    assert not result[pixels].any()
    assert result[~pixels].any(-1).all()


def test_coverage_counts_the_pixels_of_masks():
    """A box in a mask's gap is not covered; half of a mask is half of it; and boxes cover masks, too."""
    frame = np.zeros(SHAPE, bool)
    frame[10:50, 20:70], frame[20:40, 30:60] = True, False
    ring, how = region(frame), Replacement(margin=0)
    gap = Region(kind="plate", box=(30.0, 20.0, 60.0, 40.0), score=1, detector="boxes")
    upper = frame & (np.arange(60)[:, None] < 30)
    assert covered_share(gap, [(ring, how)], SHAPE) == 0
    assert covered_share(ring, [(region(upper), how)], SHAPE) == 0.5
    assert covered_share(region(upper), [(ring, how)], SHAPE) == 1
    assert covered_share(ring, [(gap, how)], SHAPE) == 0
    assert covered_share(ring, [(gap, Replacement(shape="box", margin=4))], SHAPE) == 1
    assert covered_share(ring, [], SHAPE) == 0


def test_what_lies_in_a_gap_of_a_larger_mask_is_replaced_as_well():
    """By its box alone it would lie wholly in what is replaced for the other."""
    frame = np.zeros(SHAPE, bool)
    frame[5:55, 10:70], frame[20:40, 30:60] = True, False
    inner = np.zeros(SHAPE, bool)
    inner[25:35, 40:50] = True
    (made,) = anonymizer(region(frame), region(inner), replacement=Replacement(margin=0))(
        [Picture(pixels=noise())], [item("a")]
    )
    assert not made.picture.pixels[frame | inner].any()
    assert len(made.regions) == 2
    assert made.picture.pixels[~frame & ~inner].any(-1).all()


def test_a_doubtful_mask_inside_what_is_replaced_is_no_doubt_and_one_outside_is():
    lower = np.zeros(SHAPE, bool)
    lower[40:55, 40:70] = True
    inside = cross() & (np.arange(60)[:, None] < 30)
    for doubtful, held in ((inside, False), (lower, True)):
        (made,) = anonymizer(region(cross()), region(doubtful, score=0.16))([Picture(pixels=noise())], [item("a")])
        assert isinstance(made, HeldError) is held


@given(st.integers(0, 40), st.integers(0, 60), st.booleans(), st.sampled_from(["solid", "pixelate", "blur"]))
@settings(max_examples=30, deadline=None)
def test_sealed_originals_of_masks_come_back_to_the_last_bit(top, left, sees_through, method):
    """The seal holds the box's pixels, alpha too: what is published and what is sealed make the image again."""
    pixels = np.zeros(SHAPE, bool)
    pixels[top : top + 20, left : left + 20] = cross(0, 0, 20, 5)[:20, :20][: 60 - top, : 80 - left]
    if not pixels.any():
        return
    alpha = np.random.default_rng(1).integers(0, 256, SHAPE).astype(np.uint8) if sees_through else None
    given_picture = Picture(pixels=noise(), alpha=alpha)
    job = anonymizer(region(pixels), replacement=Replacement(method=method), policy=Policy(doubt=0.2))
    (made,) = job([given_picture], [item("a")])
    assert len(made.originals) >= 1
    assert [r["mask"] for r in made.regions] == [masks.encoded(pixels)]
    unsealer = Unsealer.__new__(Unsealer)
    unsealer._opened = lambda item: list(made.originals)
    (back,) = unsealer([made.picture], [item("a")])
    restored = with_alpha(back.picture.pixels, back.picture.alpha)
    assert np.array_equal(restored, with_alpha(given_picture.pixels, alpha))


def test_a_table_of_masks_decides_what_is_replaced(tmp_path):
    """COCO's polygons from the file to the pixels and the row; an image of another size is held in a sentence."""
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 60, "width": 80}],
        "annotations": [{"image_id": 1, "bbox": [10, 20, 30, 25], "segmentation": [[10, 20, 40, 20, 25, 45]],
                         "category_id": 7, "keypoints": [12, 22, 2]}],
        "categories": [{"id": 7, "name": "person"}],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    table = RegionTable(str(tmp_path / "coco.json"))
    job = Anonymizer(detectors=[], table=table, replacement=Replacement(margin=0))
    made, held = job([Picture(pixels=noise())], [item("a.png")])[0], job([Picture(pixels=noise(shape=(80, 60)))],
                                                                         [item("a.png")])[0]  # fmt: skip
    (row,) = made.regions
    inside = masks.decoded(row["mask"], 60, (0, 0, 80, 60))
    assert (row["kind"], row["category"], row["points"], row["action"]) == ("person", 7, [12, 22, 2], "solid")
    assert np.array_equal(~made.picture.pixels.any(-1), inside)
    assert 350 < inside.sum() < 400
    assert (held.kind, held.status) == ("other-size", "held")
    assert held.sentence == "its regions were drawn for 80 x 60 px, and it has 60 x 80 px"


def test_a_detectors_mask_of_another_image_holds_it():
    """Nobody knows what is there, as with numbers that are none."""
    wrong = Region(
        kind="person", box=(1, 1, 9, 9), score=0.9, detector="test", mask=masks.encoded(np.ones((9, 9), bool))
    )
    (held,) = anonymizer(wrong)([Picture(pixels=noise())], [item("a")])
    assert (held.kind, held.status) == ("not-finite", "held")
    assert "its mask has 81 pixels" in held.sentence


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return bundles.fetch(begun("deidentify", tmp_path_factory.mktemp("deidentify")))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    return bundles.fetch(begun("passcode", tmp_path_factory.mktemp("passcode")))


def test_a_painted_face_covers_its_mask_and_comes_back_by_the_index(generator, transformer):
    """Ears and hair outside of the ellipse are given to no network and show nothing; the way back knows the mask."""
    pixels = np.zeros(SHAPE, bool)
    pixels[10:40, 30:56] = True
    known = fitted(Region(kind="face", box=(30.0, 10.0, 56.0, 40.0), score=1, detector="t", mask=masks.encoded(pixels)),
                   *SHAPE)  # fmt: skip
    one, other = noise(0), noise(0)
    other[pixels] = noise(1)[pixels]
    blind = FacePainter(generator, Secret(b"k" * 32))
    (one_made, _), (other_made, _) = (blind([seen], [ordered([known])], [item("a")])[0] for seen in (one, other))
    assert np.array_equal(one_made[pixels], other_made[pixels])
    painter = FacePainter(transformer, Secret(b"k" * 32))
    ((made, _),) = painter([one], [ordered([known])], [item("a")])
    ((plain, _),) = painter([one], [ordered([face((30, 10, 56, 40))])], [item("a")])
    assert not np.array_equal(made[pixels], plain[pixels])
    assert np.array_equal(plain[10, 30], one[10, 30])
    assert not np.array_equal(made[10, 30], one[10, 30])
    back = Repainter.__new__(Repainter)
    back._painter = FacePainter(transformer, Secret(b"k" * 32), back=True)
    rows = [{"regions": [ordered([known])[0].row("passcode")]}]
    back._rows = type("Rows", (), {"of": lambda self, item: rows})()
    (restored,) = back([Picture(pixels=made)], [item("a")])
    ((expected, _),) = back._painter([made], [ordered([known])], [item("a")])
    assert np.array_equal(restored.picture.pixels, expected)
    rows[0]["regions"][0]["mask"] = masks.encoded(np.ones((9, 9), bool))
    (failed,) = back([Picture(pixels=made)], [item("a")])
    assert isinstance(failed, InputError)
    assert (failed.kind, failed.status) == ("seal", "failed")
