"""Colour profiles: colours stay right, and of an input's profile no byte is passed on where nothing may tell of it."""

import io
import json

import numpy as np
import pytest
from PIL import Image, ImageCms

from recast.jobs import cli
from recast.pipeline import storage
from recast.pipeline.images.pictures import Picture
from recast.pipeline.images.profiles import (
    CONVERTED,
    SPACES_KNOWN,
    UNREADABLE,
    Space,
    checked,
    exchanged,
    profile,
)
from recast.pipeline.output.index import current
from tests.pipeline.report.outputs import png

COLOURS = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
BY_NAME = {space.name: space for space in SPACES_KNOWN}
ODD = profile(Space(name="Display of Alice Smith", curve=(1.6,), primaries=((0.6, 0.34), (0.3, 0.58), (0.16, 0.09))))
"""A calibrated display's, whose description is its owner's name."""
ODD_GREY = profile(Space(name="Scanner of Alice Smith", curve=(1.4,)))


def seen(picture: Picture) -> np.ndarray:
    """A picture's colours in CIE Lab, through its profile."""
    image = Image.fromarray(picture.pixels if picture.pixels.shape[2] == 3 else picture.pixels[..., 0])
    icc = picture.icc or profile(SPACES_KNOWN[0])
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    made = ImageCms.profileToProfile(image, source, ImageCms.createProfile("LAB"), outputMode="LAB")
    lab = np.asarray(made).astype(int)
    lab[..., 1:] = (lab[..., 1:] + 128) % 256
    return lab


@pytest.mark.parametrize(
    ("name", "red"),
    [
        ("sRGB", (0.43607, 0.22249, 0.01392)),
        ("Display P3", (0.51512, 0.24120, -0.00105)),
        ("Adobe RGB (1998)", (0.60974, 0.31111, 0.01947)),
        ("ROMM RGB", (0.79767, 0.28804, 0.00000)),
    ],
)
def test_our_profiles_are_those_of_the_standards(name, red):
    """Red's XYZ under D50 is what the published profiles of the space hold, and littleCMS reads them."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile(BY_NAME[name])))
    assert ImageCms.getProfileDescription(opened).strip() == name
    assert opened.profile.red_colorant[0] == pytest.approx(red, abs=3e-4)


def test_a_known_space_keeps_its_pixels_under_a_profile_of_ours():
    """sRGB as littleCMS writes it, with a text and a tail: the same pixels, and our bytes."""
    foreign = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    laden = foreign + b"ICCSECRET:" + bytes(5000)
    made = exchanged(Picture(pixels=COLOURS, icc=laden))
    assert made.pixels is COLOURS
    assert made.icc == profile(BY_NAME["sRGB"])
    assert made.notes == ()
    for space in SPACES_KNOWN:
        pixels = COLOURS if space.primaries else COLOURS[..., :1]
        same = exchanged(Picture(pixels=pixels, icc=profile(space) + b"tail"))
        assert (same.icc, same.pixels is pixels) == (profile(space), True)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("icc", [ODD, ODD_GREY], ids=["colour", "grey"])
def test_any_other_space_becomes_srgb_and_looks_the_same(icc, depth):
    """A display's own profile goes, its colours stay, at 8 and at 16 bits."""
    muted = (COLOURS // 2 + 64) if icc is ODD else COLOURS[..., :1]
    given = Picture(pixels=muted if depth == np.uint8 else muted.astype(np.uint16) * 257, icc=icc)
    made = exchanged(given)
    assert made.icc == profile(BY_NAME["sRGB" if icc is ODD else "Grey, as sRGB"])
    assert made.notes == (CONVERTED,)
    assert made.pixels.dtype == depth
    shown = made if depth == np.uint8 else made.with_pixels((made.pixels / 257).round().astype(np.uint8), None)
    assert np.abs(seen(shown) - seen(Picture(pixels=muted, icc=icc))).max() <= 3


def test_sixteen_bits_stay_smooth():
    """A fine gradient through a conversion has no steps larger than its own."""
    ramp = np.arange(0, 65536, 16, dtype=np.uint16)[None, :, None].repeat(3, 2)
    made = exchanged(Picture(pixels=ramp, icc=ODD)).pixels.astype(int)
    steps = np.diff(made[0, :, 0])
    assert steps.min() >= 0
    assert len(np.unique(made[0, 2000:, 0])) > 1500


def test_without_a_profile_the_colours_are_those_of_srgb():
    """Where no profile goes into the file, wide colours are converted rather than shown wrong."""
    given = Picture(pixels=COLOURS // 4 + 96, icc=profile(BY_NAME["Adobe RGB (1998)"]))
    made = exchanged(given, tagged=False)
    assert made.icc is None
    assert np.abs(seen(made) - seen(given)).max() <= 3
    assert exchanged(Picture(pixels=COLOURS, icc=profile(BY_NAME["sRGB"])), tagged=False).pixels is COLOURS


DAMAGED = {
    "garbage": b"\x01" * 300,
    "empty": b"",
    "header alone": ODD[:128],
    "too long": (len(ODD) + 1).to_bytes(4, "big") + ODD[4:],
    "no mark": ODD.replace(b"acsp", b"ascp"),
    "no curves": ODD.replace(b"TRC", b"xxx"),
    "other colours": ODD_GREY,
}


@pytest.mark.parametrize("icc", DAMAGED.values(), ids=DAMAGED)
def test_a_profile_that_cannot_be_read_is_left_out_with_a_note(icc):
    """In every job; the pixels stay as they are."""
    for made in (checked(Picture(pixels=COLOURS, icc=icc)), exchanged(Picture(pixels=COLOURS, icc=icc))):
        assert (made.icc, made.notes, made.pixels is COLOURS) == (None, (UNREADABLE,), True)


def test_other_jobs_keep_a_sound_profile_up_to_its_end():
    """Upscaling and translation pass a profile on as it is, and nothing that lies behind it."""
    made = checked(Picture(pixels=COLOURS, icc=ODD + b"ICCSECRET" + bytes(1000)))
    assert (made.icc, made.notes) == (ODD, ())
    assert checked(Picture(pixels=COLOURS)).icc is None


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("metadata", ["safe", "strip"])
def test_a_deidentified_image_holds_no_byte_of_its_profile(format, metadata, tmp_path, worker_here):
    """Neither the owner's name in its text, nor what lies behind its end, in any format."""
    (tmp_path / "in").mkdir()
    for name, icc in (("odd", ODD), ("srgb", profile(BY_NAME["sRGB"])), ("broken", b"garbage" * 50)):
        data = io.BytesIO()
        Image.fromarray(COLOURS).save(data, "JPEG", icc_profile=icc + b"ICCSECRET:" + png(Image.fromarray(COLOURS)))
        (tmp_path / "in" / f"{name}.jpg").write_bytes(data.getvalue())
    boxes = {f"{name}.jpg": [{"box": [5, 5, 20, 20]}] for name in ("odd", "srgb", "broken")}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json"), "--format", format, "--metadata", metadata]
    assert cli._status(["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how]) == 0
    fs, root = storage.filesystem(str(tmp_path / "out"))
    for row in current(fs, root, ["key", "status", "shard", "offset", "length"]).to_pylist():
        assert row["status"] == "ok"
        data = (tmp_path / "out" / "shards" / row["shard"]).read_bytes()[row["offset"] :][: row["length"]]
        icc = Image.open(io.BytesIO(data)).info.get("icc_profile", b"")
        assert icc in ((profile(BY_NAME["sRGB"]), b"") if metadata == "safe" else (b"",))
        for secret in ("ICCSECRET", "Alice", "Alice".encode("utf-16-be"), "garbage"):
            assert (secret if isinstance(secret, bytes) else secret.encode()) not in data + icc
