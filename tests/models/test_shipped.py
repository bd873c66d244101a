"""The upscalers that ship do what docs/upscalers.md says, on photographs that they were not trained on."""

from statistics import mean

import pytest
from PIL import Image

from recast.models import bundle
from recast.models.description import WEIGHTS
from recast.models.shipped import BUNDLES, SHIPPED, shipped
from tests.benchmarks.upscale_quality import score

CROP_PX = 144
"""Side of the square in the middle of a photograph that is scored; all of it takes long."""
HELD_OUT = ("coffee.png", "chelsea.png")


def load(name):
    folder = shipped(name)
    return bundle.read((folder / "bundle.json").read_bytes(), (folder / WEIGHTS).read_bytes())


@pytest.mark.parametrize(("name", "least_gain_db"), [("upscale-x2", 2.8), ("upscale-x4", 1.3)])
def test_beats_bicubic_on_held_out_photographs(name, least_gain_db, photos):
    """Each shipped upscaler is far better than Pillow's bicubic, on average and on every photograph."""
    described, network = load(name)
    gains = []
    for file in HELD_OUT:
        with Image.open(photos / file) as photo:
            gains.append(score(network, described.descriptor, photo, CROP_PX).gain)
    assert mean(gains) >= least_gain_db
    assert min(gains) >= 0.8


@pytest.mark.parametrize("name", SHIPPED)
def test_is_small_and_whole(name):
    """A shipped bundle has its four files, weighs less than 2 MB, and says nothing of the machine it was made on."""
    files = {path.name: path for path in shipped(name).iterdir()}
    assert files.keys() == {"bundle.json", "generator.safetensors", "preview.png", "README.md"}
    assert sum(path.stat().st_size for path in files.values()) < 2_000_000
    described, _ = load(name)
    assert described.descriptor.task == "upscale"
    assert described.descriptor.scale == int(name[-1])
    assert described.training["data"] == "photos/train"


def test_only_what_is_named_ships():
    """The folder of bundles and the list of them agree."""
    assert {path.name for path in BUNDLES.iterdir()} == set(SHIPPED)


def test_unknown_bundle_is_refused():
    """A name that does not ship is answered with those that do."""
    with pytest.raises(ValueError, match="no bundle 'upscale-x3' comes with Recast; there is upscale-x2, upscale-x4"):
        shipped("upscale-x3")
