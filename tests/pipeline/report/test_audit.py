"""The audit: each sampled image whole, whatever its depth and transparency, and nothing signed that was not shown."""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from recast.jobs import cli, exit_status
from recast.pipeline import report, storage
from recast.pipeline.regions import masks
from recast.pipeline.report.audit import SignError
from tests.pipeline.report.outputs import manifest
from tests.pipeline.report.test_report import Page

FACE = data.astronaut()
GREY = FACE.mean(2)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]])[
        1
    ].tobytes()


def faded() -> np.ndarray:
    """Opaque at the top, and fully transparent at the bottom."""
    alpha = np.linspace(255, 0, 512).astype(np.uint8)[:, None].repeat(512, 1)
    return np.dstack([FACE, alpha])


@pytest.fixture
def deidentified(tmp_path, worker_here):
    """Makes an output of the given images, each with a box in it."""

    def made(images: dict[str, bytes], box=(170, 60, 290, 220), empty=()):
        (tmp_path / "in").mkdir()
        for name, file in images.items():
            (tmp_path / "in" / name).write_bytes(file)
        boxes = {name: [] if name in empty else [{"box": box, "kind": "face"}] for name in images}
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json")]
        assert cli._status(["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how]) == 0
        return str(tmp_path / "out")

    return made


def pictures(page: str) -> dict[str, np.ndarray]:
    """The pixels that a page shows, uint8 [H, W, 3], by their description."""
    found = {}
    for image in re.findall(r"<img [^>]*>", page):
        file = base64.b64decode(re.search(r'src="data:image/[a-z]+;base64,([^"]+)"', image)[1])
        opened = Image.open(io.BytesIO(file))
        stated = [int(re.search(rf'{side}="([0-9]+)"', image)[1]) for side in ("width", "height")]
        assert list(opened.size) == stated
        found[re.search(r'alt="([^"]*)"', image)[1]] = np.asarray(opened.convert("RGB"))
    return found


def audited(output: str, **options) -> tuple[str, dict]:
    page, beside = report.write_audit(output, **options)
    return Path(page).read_text(), json.loads(Path(beside).read_text())


def test_an_audit_with_a_damaged_index_is_refused(deidentified):
    """It would speak of some of the images as of all of them."""
    output = deidentified({"a.png": png(FACE)})
    (Path(output) / "index" / "0002.parquet").write_bytes(b"half of a fragm")
    with pytest.raises(storage.StorageError, match="is damaged"):
        report.write_audit(output)


def test_the_newest_runs_are_on_the_page_and_all_in_the_json(deidentified):
    """A nightly schedule would fill screens with them."""
    output = deidentified({"a.png": png(FACE)})
    for day in range(1, 26):
        when = f"2026-11-{day:02}T02:00:00Z"
        manifest(Path(output), f"202611{day:02}T020000-1", job="deidentify", finished_at=when)
    page, said = audited(output)
    assert len(said["runs"]) == 26
    assert page.count("as stated above") + page.count("<td>others</td>") == 20
    assert "not listed: 6; the JSON beside this page has those" in Page(page).text


def test_images_in_which_nothing_was_found_are_counted(deidentified):
    """An empty list of regions says that somebody looked; version 1 wrote null for that, which counts too."""
    output = deidentified({"a.png": png(FACE), "b.png": png(FACE), "c.png": png(FACE)}, empty=("b.png", "c.png"))
    _, said = audited(output)
    assert said["published_untouched"] == 2


def test_a_large_image_is_shown_whole_with_close_looks(deidentified):
    """People in the corners of a 2400 x 1800 photograph are on the page, the replaced region as it is."""
    wide = cv2.resize(data.coffee(), (2400, 1800))
    wide[:512, :512], wide[-512:, -512:] = FACE, FACE[:, ::-1]
    output = deidentified({"two people.png": png(wide)})
    page, said = audited(output)
    shown = pictures(page)
    whole = shown["Published: two people.png"]
    assert whole.shape == (1200, 1600, 3)
    expected = cv2.resize(wide, (1600, 1200), interpolation=cv2.INTER_AREA)
    assert np.abs(whole[-340:, -340:].astype(int) - expected[-340:, -340:]).mean() < 6
    assert (whole[70:120, 135:175] < 12).all()
    text = Page(page).text
    assert "2,400 × 1,800 px, reduced to 1,600 × 1,200" in text
    assert "Replaced: 1. face 1.00, solid, 120 × 160 px" in text
    (image,) = said["images"]
    close = shown["Replaced 1 of two people.png"]
    left, top, right, bottom = image["parts_shown_close"][0]
    assert close.shape == (bottom - top, right - left, 3)
    assert np.abs(close[:20, :20].astype(int) - wide[top : top + 20, left : left + 20]).mean() < 12
    assert len(image["parts_shown_close"]) == 7
    assert re.search(r'class="mark" style="left:7\.08\d*%;top:3\.33\d*%;width:5\.0%;height:8\.88', page)
    assert (image["width"], image["height"], image["shown_whole_at"]) == (2400, 1800, [1600, 1200])
    assert image["shown"] is True


def test_every_depth_and_transparency_can_be_seen(deidentified):
    """16-bit grey and colour, a few low bits, and what alpha hides: as a person could come to see it."""
    deep = np.full((40, 60), 40_000, np.uint16)
    output = deidentified(
        {
            "grey16.png": png((GREY * 257).astype(np.uint16)),
            "low16.png": png(GREY.astype(np.uint16)),
            "dark8.png": png((FACE * 0.08).astype(np.uint8)),
            "colour16.png": png(FACE.astype(np.uint16) * 257),
            "faded.png": png(faded()),
            "flat16.png": png(np.vstack([np.pad(deep, ((0, 472), (0, 452)), constant_values=40_000)])),
        }
    )
    page, said = audited(output)
    shown = pictures(page)
    for name in ("grey16.png", "low16.png", "dark8.png", "colour16.png"):
        expected = FACE if name in ("dark8.png", "colour16.png") else GREY[..., None].repeat(3, 2)
        seen = shown[f"Published: {name}"][300:].astype(int)
        assert np.abs(seen - expected[300:]).mean() < 12, name
    assert "stretched to be seen: its values lie between 0 and" in Page(page).text
    on_white, on_black = shown["Published: faded.png"], shown["On black: faded.png"]
    assert on_white[-1].min() > 250
    assert on_black[-1].max() < 5
    assert np.abs(shown["Without its transparency: faded.png"][300:].astype(int) - FACE[300:]).mean() < 6
    assert [image["shown"] for image in said["images"]] == [True] * 6
    report.render(output)


def test_the_json_lists_what_was_shown(deidentified):
    """Each image with the sha256 of what is published and of the page, and the same page each time."""
    output = deidentified({f"{n}.png": png(np.roll(FACE, n, 0)) for n in range(3)})
    page, said = audited(output, sample=2, signed_off_by="Ada")
    assert said["page_sha256"] == hashlib.sha256(page.encode()).hexdigest()
    assert [image["key"] for image in said["images"]] == said["sampled"]
    assert len(said["images"]) == 2
    shown = pictures(page)
    for image in said["images"]:
        assert image["shown_whole_at"] == [image["width"], image["height"]] == [512, 512]
        assert len(image["sha256"]) == 64
        assert f"Published: {image['key']}" in shown
    assert said["signed_off"]["by"] == "Ada"
    assert "at 2 sampled images, each whole (0 of them reduced" in said["signed_off"]["statement"]
    assert audited(output, sample=2)[0] == page


def test_nobody_signs_what_was_not_shown(deidentified, tmp_path, capsys):
    """A damaged image is said on the page and refuses the signature; nothing is written over for it."""
    output = deidentified({"a.png": png(FACE), "b.png": png(FACE[::-1])})
    (shard,) = (tmp_path / "out" / "shards").iterdir()
    file = bytearray(shard.read_bytes())
    file[2000] ^= 1
    shard.write_bytes(file)
    page, said = audited(output)
    assert sorted(image["shown"] for image in said["images"]) == [False, True]
    assert "1 image of the sample can’t be shown" in Page(page).text
    assert "Not shown: its bytes are not those that the index tells of." in Page(page).text
    before = (tmp_path / "out" / "audit.json").read_bytes()
    assert cli._status(["audit", output, "--signed-off-by", "Ada"]) == exit_status.FAILED
    assert "1 of the 2 sampled images can't be shown" in capsys.readouterr().err
    assert (tmp_path / "out" / "audit.json").read_bytes() == before


def test_a_page_that_showed_something_else_is_not_signed(deidentified):
    """Who looked at one sample signs that one: another is written, unsigned, to be looked at first."""
    output = deidentified({f"{n}.png": png(np.roll(FACE, n, 0)) for n in range(3)})
    report.write_audit(output, sample=1)
    with pytest.raises(SignError, match="look at it, then give the same command again"):
        report.write_audit(output, sample=3, signed_off_by="Ada")
    _, said = audited(output, sample=3, signed_off_by="Ada")
    assert said["signed_off"]["by"] == "Ada"
    assert len(said["images"]) == 3


def test_held_originals_come_from_ones_own_sources_alone(deidentified, tmp_path, worker_here, monkeypatch):
    """With --show-held; in another's output, or one that was moved, --source must say where they lie."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    output = deidentified({"a.png": png(FACE)}, box=(5000, 5000, 5100, 5100))
    assert "Held: a.png" in pictures(audited(output, show_held=True)[0])
    (tmp_path / "out").rename(tmp_path / "moved")
    page, said = audited(str(tmp_path / "moved"), show_held=True)
    assert "Held: a.png" not in pictures(page)
    assert said["held_listed"] == [{"key": "a.png", "original_shown": False}]
    assert "Held: a.png" in pictures(audited(str(tmp_path / "moved"), show_held=True, source=str(tmp_path / "in"))[0])


def test_the_policy_is_said_in_words(deidentified):
    """A reviewer reads what the settings mean, and finds the settings themselves below."""
    text = Page(audited(deidentified({"a.png": png(FACE)}))[0]).text
    looks = "Looks with boxes of the user's own alone"
    for words in (looks, "Puts in place black, in", "Originals not kept", "Names as in the source"):
        assert words in text


def test_a_replaced_mask_is_drawn_by_its_edge(tmp_path, worker_here):
    """Around the mask, not around its box; a mask with a hole has two edges."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(png(FACE))
    ring = np.zeros((512, 512), bool)
    ring[60:220, 170:290] = True
    ring[100:150, 200:250] = False
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 512, "height": 512}],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [170, 60, 120, 160], "iscrowd": 1,
             "segmentation": {"size": [512, 512], "counts": masks.encoded(ring)}},
        ],
    }  # fmt: skip
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    how = ["--detector", "none", "--boxes", str(tmp_path / "coco.json"), "--margin", "0"]
    assert cli._status(["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how]) == 0
    page, _ = audited(str(tmp_path / "out"))
    (outline,) = set(re.findall(r'<path d="([^"]+)"', page))
    corners = [np.array(re.findall(r"(-?[\d.]+) (-?[\d.]+)", edge), float) for edge in outline.split("Z")[:-1]]
    found = sorted((*edge.min(0).round(), *edge.max(0).round()) for edge in corners)
    assert len(found) == 2
    assert np.allclose(found, [(0, 0, 100, 100), (25, 25, 67, 56)], atol=1.5)
