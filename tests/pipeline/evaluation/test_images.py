"""`recast evaluate images` measures pairs by their names, names what it can't, and says what numbers are worth."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from recast.jobs.commands import evaluate
from recast.models.metrics.lpips import LPIPS
from recast.models.networks.vgg import VGG
from recast.pipeline.evaluation import images
from recast.pipeline.evaluation.images import PairingError, compare
from recast.pipeline.storage import StorageError


def put(path, seed=0, size=(48, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(path)


def measured(tmp_path, *arguments, **options):
    return compare(str(tmp_path / "r"), str(tmp_path / "t"), *arguments, **options)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return LPIPS(VGG(blocks=[[4, 4], [6], [8]]).eval().requires_grad_(False))


@pytest.mark.parametrize(
    "names",
    [
        [f"shot.{n:04}.png" for n in range(5)],
        ["cat.v1.png", "cat.v2.png"],
        ["a.jpg.png", "b.jpg.png"],
        ["x/1.png", "y/1.png", "1.png"],
    ],
)
def test_each_image_is_compared_with_its_own(tmp_path, names):
    """A name is all but the ending: frames that a renderer numbers are equal to themselves, each."""
    for seed, name in enumerate(names):
        put(tmp_path / "r" / name, seed)
        put(tmp_path / "t" / name, seed)
    found = measured(tmp_path)
    assert (found["images"], found["equal"], found["psnr_db"]) == (len(names), len(names), None)


def test_names_that_programs_change_still_pair(tmp_path):
    """BasicSR's _x4, Real-ESRGAN's _out and `index extract`'s second ending; what pairs by itself comes first."""
    for seed, name in enumerate(
        ["img0_x4.png", "img1x4.png", "img2_out.png", "img3.jpg.png", "img4.png", "img4_x4.png"]
    ):
        put(tmp_path / "r" / name, seed)
    for seed in range(5):
        put(tmp_path / "t" / f"img{seed}.png", seed)
    found = measured(tmp_path)
    assert (found["images"], found["equal"], found["without_target"]) == (5, 5, 1)
    assert "3 images paired without what was added to their names" in found["notes"]


def test_two_of_one_name_are_told_apart_or_refused(tmp_path):
    """a.png and a.bmp have each their partner by the whole name; where one is missing, nothing is guessed."""
    for seed, name in enumerate(["a.png", "a.bmp"]):
        put(tmp_path / "r" / name, seed)
        put(tmp_path / "t" / name, seed)
    assert measured(tmp_path)["equal"] == 2
    (tmp_path / "t" / "a.png").rename(tmp_path / "t" / "a.tif")
    with pytest.raises(PairingError, match=r"it isn't clear which result belongs to a\.\w+: a\.bmp, a\.png"):
        measured(tmp_path)


def test_what_can_not_be_measured_is_counted_and_named(tmp_path, capsys):
    """A damaged image, sidecars, a missing result and one of another size end nothing."""
    for seed in range(5):
        put(tmp_path / "t" / f"{seed}.png", seed)
        put(tmp_path / "r" / f"{seed}.png", seed, size=(20, 20) if seed == 3 else (48, 48))
    (tmp_path / "r" / "4.png").unlink()
    (tmp_path / "r" / "2.png").write_bytes((tmp_path / "r" / "2.png").read_bytes()[:300])
    for side in "rt":
        (tmp_path / side / "meta.json").write_text("{}")
    arguments = str(tmp_path / "r"), str(tmp_path / "t")
    assert evaluate.images(*arguments, as_json=True) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    counts = {name: found[name] for name in ("images", "equal", "of_another_size", "without_result", "unreadable")}
    assert counts == {"images": 2, "equal": 2, "of_another_size": 1, "without_result": 1, "unreadable": 1}
    assert found["passed_over"] == 2
    assert evaluate.images(*arguments) == 0
    assert "r/2.png: truncated" in capsys.readouterr().err


def test_luma_and_border_are_those_of_papers(tmp_path):
    """Y of BT.601 in studio range, without a border, as scikit-image has them on the same crop."""
    photo = data.astronaut()[100:220, 150:290]
    other = (photo + np.random.default_rng(0).normal(0, 9, photo.shape)).clip(0, 255).astype(np.uint8)
    for side, image in (("r", other), ("t", photo)):
        (tmp_path / side).mkdir()
        Image.fromarray(image).save(tmp_path / side / "0.png")
    y, z = (rgb2ycbcr(image)[4:-4, 4:-4, 0] for image in (photo, other))
    found = measured(tmp_path, on_luma=True, border_px=4)
    assert found["psnr_db"] == pytest.approx(peak_signal_noise_ratio(y, z, data_range=255), abs=1e-6)
    expected = structural_similarity(
        y, z, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert found["ssim"] == pytest.approx(expected, abs=2e-3)
    assert found["protocol"] == "Y of BT.601 (16 to 235), border of 4 px left out"
    assert measured(tmp_path)["protocol"] == "RGB, 8 bits, border of 0 px left out"
    assert measured(tmp_path, border_px=60)["psnr_db"] is None


def test_sets_that_do_not_pair_have_a_frechet_distance(tmp_path, network):
    """Horses against zebras: with a network their distance alone, said so; without one it says what it takes."""
    for seed in range(4):
        put(tmp_path / "r" / f"horse{seed}.png", seed)
        put(tmp_path / "t" / f"zebra{seed}.png", 10 + seed)
    with pytest.raises(PairingError, match="no image of one name in common; with --loss-network there is"):
        measured(tmp_path)
    found = measured(tmp_path, network)
    assert found["frechet"] > 0
    assert (found["images"], found["results"], found["targets"], found["psnr_db"]) == (0, 4, 4, None)
    assert any("taken as unpaired" in note for note in found["notes"])
    assert any("of 4 images says next to nothing" in note for note in found["notes"])
    same = compare(str(tmp_path / "r"), str(tmp_path / "r"), network, unpaired=True)
    assert 0 <= same["frechet"] < 1e-6
    assert same["images"] == 0


def test_a_frechet_distance_of_enough_images_needs_no_comment(tmp_path, network, monkeypatch):
    """The comment is for small sets alone."""
    monkeypatch.setattr(images, "ENOUGH_IMAGES", 3)
    for seed in range(3):
        put(tmp_path / "r" / f"{seed}.png", seed)
        put(tmp_path / "t" / f"{seed}.png", seed + 1)
    found = measured(tmp_path, network)
    assert not found["notes"]
    assert found["lpips"] > 0


def test_deep_and_transparent_images_are_noted(tmp_path):
    """What a measure doesn't see, it says."""
    for side, low in (("r", 7), ("t", 9)):
        (tmp_path / side).mkdir()
        assert cv2.imwrite(str(tmp_path / side / "0.png"), np.full((30, 30, 3), 4 * 256 + low, np.uint16))
    Image.new("RGBA", (30, 30), (1, 2, 3, 4)).save(tmp_path / "r" / "1.png")
    Image.new("RGB", (30, 30), (1, 2, 3)).save(tmp_path / "t" / "1.png")
    found = measured(tmp_path)
    assert "2 images with 16 bits a value, measured by the upper 8" in found["notes"]
    assert "1 image with transparent parts, measured as if they were opaque" in found["notes"]


def test_nothing_to_measure_is_an_error_that_says_why(tmp_path):
    """Of pairs of other sizes alone, and of empty places, there are no numbers."""
    put(tmp_path / "r" / "0.png")
    put(tmp_path / "t" / "0.png", size=(9, 9))
    with pytest.raises(StorageError, match="no image of one name and size that can be read, and 1 pair of different"):
        measured(tmp_path)
    (tmp_path / "t" / "0.png").unlink()
    with pytest.raises(StorageError, match="there are no images at"):
        measured(tmp_path)
