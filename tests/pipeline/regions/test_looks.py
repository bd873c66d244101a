"""Detectors see what people see: faces of every size, on any ground, in any range of values."""

import numpy as np
import pytest
from PIL import Image

from recast.pipeline.deidentify.anonymizer import Anonymizer
from recast.pipeline.deidentify.replacement.classical import grown
from recast.pipeline.deidentify.restoration import Unsealer
from recast.pipeline.deidentify.settings import Replacement
from recast.pipeline.images.pictures import Picture, laid_on, looks, with_alpha
from recast.pipeline.input_errors import HeldError
from recast.pipeline.regions import views
from recast.pipeline.regions.centerface import CenterFace
from recast.pipeline.regions.views import levels, mosaics, suspected, tiles
from tests.benchmarks.face_sizes import face_of, outcome, scene
from tests.pipeline.bulk.test_generator import item
from tests.pipeline.deidentify.test_anonymizer import Told, face


@pytest.fixture(scope="module")
def astronaut(photos):
    return np.asarray(Image.open(photos / "astronaut.png").convert("RGB"))


@pytest.fixture(scope="module")
def anonymizer():
    return Anonymizer(detectors=[CenterFace(threads=1)])


@pytest.fixture(scope="module")
def quick():
    """Without the look that only faces of less than 14 px need."""
    return Anonymizer(detectors=[CenterFace(threads=1, smallest_px=14)])


@pytest.mark.parametrize(
    ("height_px", "megapixels"),
    [(8, 0.1), (11, 0.2), (20, 0.3), (64, 0.3), (300, 0.4)],
)
def test_faces_of_every_size_are_covered_or_held(astronaut, anonymizer, height_px, megapixels):
    """With film grain, which hides large faces from a look at full size alone."""
    looking = CenterFace(threads=1, scales=(1.0,))
    image, box = scene(astronaut, face_of(astronaut, looking), height_px, megapixels * 1e6)
    assert outcome(anonymizer, image, box) in ("found", "held")


@pytest.mark.parametrize(("height_px", "megapixels"), [(14, 0.5), (900, 1.3), (1300, 2.4)])
def test_larger_faces_are_found_without_enlarging(astronaut, quick, height_px, megapixels):
    """With `--smallest-face 14`: large faces in the image made smaller, those of 14 px by closer looks."""
    looking = CenterFace(threads=1, scales=(1.0,))
    image, box = scene(astronaut, face_of(astronaut, looking), height_px, megapixels * 1e6)
    assert outcome(quick, image, box) in ("found", "held")


@pytest.mark.parametrize(
    "kind", ["ink on transparency", "hidden behind alpha 0", "8 bits in 16", "9 bits in 16", "one hot pixel", "night"]
)
def test_what_a_person_can_see_is_found_or_held(astronaut, quick, kind):
    """The picture in the alpha channel alone, and files that use a small part of their range."""
    grey, alpha = astronaut.mean(2), None
    if kind == "ink on transparency":
        pixels, alpha = np.zeros_like(astronaut), (255 - grey).astype(np.uint8)
    elif kind == "hidden behind alpha 0":
        pixels, alpha = astronaut, np.zeros(grey.shape, np.uint8)
    elif kind == "night":
        pixels = (astronaut * 0.03).astype(np.uint8)
    else:
        pixels = (grey * (2 if kind == "9 bits in 16" else 1)).astype(np.uint16)[..., None]
        if kind == "one hot pixel":
            pixels[0, 0] = 65535
    (made,) = quick([Picture(pixels=pixels, alpha=alpha)], [item("a")])
    if isinstance(made, HeldError):
        return
    assert not made.picture.pixels[80:160, 205:245].any()
    assert alpha is None or (made.picture.alpha[80:160, 205:245] == 255).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", ["solid", "pixelate"])
def test_a_replaced_region_is_opaque_and_its_original_comes_back_with_its_alpha(dtype, channels, method):
    """What was hidden there or showed through is gone, corners included; restored, every bit is as it was."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (60, 80, channels)).astype(dtype)
    alpha = rng.integers(0, 256, (60, 80)).astype(np.uint8)
    region = face((20, 10, 50, 40))
    job = Anonymizer(detectors=[Told([region])], keep_originals=True, replacement=Replacement(method=method))
    (made,) = job([Picture(pixels=pixels, alpha=alpha)], [item("a")])
    left, top, right, bottom = grown(region, 0.3, alpha.shape)
    assert (made.picture.alpha[top:bottom, left:right] == 255).all()
    outside = np.ones(alpha.shape, bool)
    outside[top:bottom, left:right] = False
    assert np.array_equal(made.picture.alpha[outside], alpha[outside])
    assert np.array_equal(made.picture.pixels[outside], pixels[outside])
    corner = laid_on(1, pixels, alpha)[top, left]
    assert np.array_equal(made.picture.pixels[top, left], corner)
    unsealer = Unsealer.__new__(Unsealer)
    unsealer._opened = lambda item: list(made.originals)
    (back,) = unsealer([made.picture], [item("a")])
    assert np.array_equal(with_alpha(back.picture.pixels, back.picture.alpha), with_alpha(pixels, alpha))


def test_ordinary_images_are_looked_at_once(astronaut):
    """Another look costs as much as the first; what it would show must be different."""
    assert len(looks(astronaut, None)) == 1
    assert len(looks(astronaut.astype(np.uint16) * 257, None)) == 1
    assert len(looks(astronaut, np.full(astronaut.shape[:2], 255, np.uint8))) == 1
    assert len(looks(np.zeros((5, 5, 1), np.uint16), None)) == 1
    black = np.where(np.arange(512)[:, None] < 100, 0, 255).astype(np.uint8).repeat(512, 1)
    assert len(looks(astronaut * (black > 0)[..., None], black)) == 2  # on black it is what it is


def test_tiles_show_all_of_an_image():
    """Of any size, each no larger than a bound, of sides that the network takes."""
    for height, width in ((64, 96), (2048, 2048), (2080, 6144), (8000, 6176), (32, 20000 // 32 * 32)):
        seen = np.zeros((height, width), bool)
        for tile in tiles(height, width, 32):
            assert (tile.width % 32, tile.height % 32) == (0, 0)
            assert max(tile.width, tile.height) <= 2048
            part = tile.of(seen)
            assert part.shape == (tile.height, tile.width)
            part[:] = True
        assert seen.all()


def test_small_images_are_enlarged_and_large_ones_reduced():
    assert levels(3000, 4000, 14)[:3] == [1.0, 0.25, 0.125]
    assert levels(3000, 4000, 8)[:3] == [1.0, 3.5, 0.25]
    assert levels(300, 300, 14)[1] > 2
    assert levels(1, 1, 14)[0] == 1.0


def test_places_of_a_mosaic_lead_back():
    """A box found in an enlarged place lies where that place is."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (200, 300, 3)).astype(np.uint8)
    places = rng.uniform(20, 180, (30, 2)).round()
    rows = np.zeros((30, 15), np.float32)
    rows[:, :2], rows[:, 2:4], rows[:, -1] = places - 5, places + 5, rng.uniform(0.01, 0.04, 30)
    corners = suspected(rows, 200, 300)
    assert 10 < len(corners) <= 16
    (mosaic,) = mosaics(image, corners)
    cells = np.array([(n % mosaic.columns * 72, n // mosaic.columns * 72) for n in range(len(corners))])
    found = np.zeros((len(corners), 15), np.float32)
    found[:, :2], found[:, 2:4] = cells + 24, cells + 48
    assert np.allclose(mosaic.back(found, 7)[:, :2], corners + 8)


def test_a_face_across_the_border_of_two_tiles_is_one_face(astronaut, monkeypatch):
    """Looked at in tiles, an image shows the faces that it shows as a whole, at the same places."""
    image = np.ascontiguousarray(astronaut[:320, :448])
    (whole,) = CenterFace(threads=1, scales=(1.0,))([image])
    monkeypatch.setattr(views, "TILE_PX", 320)
    assert len(tiles(320, 448, 32)) == 2
    (tiled,) = CenterFace(threads=1, scales=(1.0,))([image])
    best, again = (max(found, key=lambda region: region.score) for found in (whole, tiled))
    assert again.score > 0.8
    assert np.allclose(again.box, best.box, atol=12)
