"""New faces are painted in the right places, from nothing that was there, and a code leads back."""

import dataclasses

import numpy as np
import pytest
import torch

from recast.models.description import BundleError
from recast.models.networks.face_generator import FaceGenerator
from recast.pipeline import bundles
from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.deidentify.replacement.painter import FacePainter, ordered
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.images.pictures import Picture
from recast.pipeline.regions.region import Region
from tests.pipeline.bulk.bundle_operation import begun
from tests.pipeline.bulk.test_generator import item
from tests.pipeline.deidentify.test_anonymizer import Told, face

KEY = Secret(b"k" * 32)


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return bundles.fetch(begun("deidentify", tmp_path_factory.mktemp("deidentify")))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    return bundles.fetch(begun("passcode", tmp_path_factory.mktemp("passcode")))


def image(seed=0, shape=(90, 120, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


FACES = ordered([face((10, 10, 40, 50)), face((70, 20, 100, 60)), face((30, 15, 55, 50))])


def painted(painter, pixels, faces=FACES, key="a/b.png"):
    ((result, boxes),) = painter([pixels], [faces], [item(key)])
    return result, boxes


def ellipse(region, shape, margin=0.3):
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    left, top, right, bottom = region.box
    across, down = (right - left) * (1 + margin) / 2, (bottom - top) * (1 + margin) / 2
    return ((x - (left + right) / 2) / across) ** 2 + ((y - (top + bottom) / 2) / down) ** 2 <= 1


def test_the_original_face_never_reaches_the_generator(generator, monkeypatch):
    """Other pixels under the faces: what the network is given, and what it paints, is the same to the last bit."""
    given: list[torch.Tensor] = []
    forward = FaceGenerator.forward

    def watched(self, *inputs):
        given.append(torch.cat([value.flatten(1) for value in inputs], 1))
        return forward(self, *inputs)

    monkeypatch.setattr(FaceGenerator, "forward", watched)
    one = image()
    other = one.copy()
    region = face((40, 20, 70, 60))
    under = ellipse(region, one.shape)
    other[under] = image(5)[under]
    (before, _), (after, _) = (painted(FacePainter(generator, KEY), pixels, [region]) for pixels in (one, other))
    assert torch.equal(*given)
    inside = ellipse(region, one.shape, 0.0)
    assert np.array_equal(before[inside], after[inside])
    assert not np.array_equal(before[inside], one[inside])


@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (1, np.uint8), (3, np.uint16)])
@pytest.mark.parametrize("kind", ["generator", "transformer"])
def test_nothing_outside_of_the_reported_boxes_changes(kind, channels, dtype, request):
    pixels = image(1, (90, 120, channels), dtype)
    edge = ordered([face((-10, -5, 25, 30)), face((100, 60, 130, 95)), face((50, 30, 80, 70))])
    result, boxes = painted(FacePainter(request.getfixturevalue(kind), KEY), pixels, edge)
    assert (result.shape, result.dtype, len(boxes)) == (pixels.shape, pixels.dtype, 3)
    outside = np.ones(pixels.shape[:2], bool)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 120
        assert 0 <= top < bottom <= 90
        outside[top:bottom, left:right] = False
    assert np.array_equal(result[outside], pixels[outside])
    for region in edge:
        assert not np.array_equal(result[ellipse(region, pixels.shape, 0)], pixels[ellipse(region, pixels.shape, 0)])


def test_together_or_alone_faces_are_the_same(generator):
    """Faces far apart go through the network together; close ones one after the other, into what is there by then."""
    painter = FacePainter(generator, KEY)
    pictures = [image(n) for n in range(3)]
    keys = [item(f"{n}.png") for n in range(3)]
    together = painter(pictures, [FACES] * 3, keys)
    for n, (result, boxes) in enumerate(together):
        ((alone, same),) = painter([pictures[n]], [FACES], [keys[n]])
        assert boxes == same
        assert np.abs(alone.astype(int) - result).max() <= 1
    first, _ = painted(painter, pictures[0], FACES[:1], "0.png")
    inside_first_only = (
        ellipse(FACES[0], first.shape) & ~ellipse(FACES[1], first.shape) & ~ellipse(FACES[2], first.shape)
    )
    assert np.abs(first[inside_first_only].astype(int) - together[0][0][inside_first_only]).max() <= 1


def test_identities_come_from_key_and_secret(generator):
    """Fresh for each image; the same again; another by another secret; shared by a folder or a track, where asked."""
    pixels = image()

    def made(key, secret=KEY, by="image", found=FACES[:1]):
        return painted(FacePainter(generator, secret, consistent_by=by), pixels, found, key)[0]

    assert np.array_equal(made("a/1.png"), made("a/1.png"))
    assert not np.array_equal(made("a/1.png"), made("a/2.png"))
    assert not np.array_equal(made("a/1.png"), made("a/1.png", Secret(b"other" * 8)))
    assert np.array_equal(made("a/1.png", by="folder"), made("a/2.png", by="folder"))
    assert not np.array_equal(made("a/1.png", by="folder"), made("b/1.png", by="folder"))
    track = r"clip(\d+)"
    assert np.array_equal(made("x/clip7-001.png", by=track), made("y/clip7-002.png", by=track))
    assert not np.array_equal(made("clip7-001.png", by=track), made("clip8-001.png", by=track))
    named = [dataclasses.replace(FACES[0], identity="ada")]
    assert not np.array_equal(made("a/1.png", by="folder", found=named), made("a/2.png", by="folder"))


def test_the_way_back_undoes_the_last_face_first(transformer):
    """A network that has learned nothing restores nothing, but is asked for the same masks, with the inverse codes."""
    there, back = FacePainter(transformer, KEY), FacePainter(transformer, KEY, back=True)
    pixels = image()
    result, boxes = painted(there, pixels)
    restored, same = painted(back, result)
    assert sorted(boxes) == sorted(same)
    wrong, _ = painted(FacePainter(transformer, Secret(b"w" * 32), back=True), result)
    assert not np.array_equal(wrong, restored)


def test_only_bundles_that_paint_faces_paint_faces(generator, tmp_path):
    with pytest.raises(BundleError, match="there is no way back"):
        FacePainter(generator, KEY, back=True)
    with pytest.raises(BundleError, match="is not a face generator"):
        FacePainter(bundles.fetch(begun("recognizer", tmp_path)), KEY)


def test_a_new_face_may_be_found_but_nothing_else(generator):
    """A detector sees the new face, as it should; a find elsewhere is replaced classically; other kinds always are."""
    there, elsewhere, plate = face((40, 20, 70, 60)), face((5, 5, 25, 25)), face((90, 60, 110, 70), kind="plate")
    painter = FacePainter(generator, KEY)
    picture = Picture(pixels=image())
    (made,) = Anonymizer(detectors=[Told([there, plate], [there])], painter=painter)([picture], [item("key")])
    assert [(r["kind"], r["action"]) for r in made.regions] == [("face", "deidentify"), ("plate", "solid")]
    again = [Told([there], [there, elsewhere], [there])]
    (made,) = Anonymizer(detectors=again, painter=painter, keep_originals=True)([picture], [item("key")])
    assert [r["action"] for r in made.regions] == ["deidentify", "solid"]
    whole = made.picture.pixels.copy()
    for (left, top, right, bottom), pixels in made.originals:
        whole[top:bottom, left:right] = pixels
    assert np.array_equal(whole, picture.pixels)


def test_boxes_are_as_exact_as_the_index_keeps_them():
    (kept,) = ordered([Region(kind="face", box=(0.1, 0.2, 30.3, 40.4), score=0.5, detector="d")])
    assert kept.box == tuple(float(np.float32(side)) for side in (0.1, 0.2, 30.3, 40.4))
