"""A mistake in what a recipe needs is one sentence and exit status 2, before anything starts."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from recast.jobs import cli
from recast.models.networks.vgg import VGG


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in: pairs, single images, a style image, a table, a loss network and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for name, size in (("pairs/0.png", (80, 40)), ("single/0.png", (64, 64)), ("style.png", (64, 64))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "faces.json").write_text(json.dumps([{"key": "0.png", "box": [1, 1, 9, 9]}]))
    torch.save(VGG(blocks=[[4, 4], [8, 8]]).state_dict(), tmp_path / "vgg.pth")
    torch.save({"model.weight": torch.zeros(3)}, tmp_path / "other.pth")
    return tmp_path


STYLE = "style_transfer --data single --preset tiny --style-image style.png --loss-network"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("retinaface --data single --preset least", "retinaface needs --annotations"),
        ("pix2pix --data pairs --preset tiny --annotations faces.json", "pix2pix does not take --annotations"),
        ("pix2pix --data pairs --preset tiny --faces faces.json", "pix2pix does not take --annotations"),
        ("pix2pix --data pairs --faces a.json --annotations b.json", "--faces is the former name of --annotations"),
        ("pix2pix --data pairs --preset tiny --loss-network nope.pth", "pix2pix does not take --loss-network"),
        ("pix2pix --data pairs --preset tiny --style-image nope.png", "pix2pix does not take --style-image"),
        ("style_transfer --data single --preset tiny --style-image style.png", "style_transfer needs --loss-network"),
        ("srgan --data single --preset tiny", "srgan needs --loss-network"),
        ("classifier --data . --preset tiny", "training with classes needs one folder per class"),
        (f"{STYLE} other.pth", "the loss network must be a VGG"),
        (f"{STYLE} vgg.pth --set content_layers=relu9_9", "the loss network has no layer 'relu9_9'"),
        (f"{STYLE} vgg.pth --set content_layers=relu1_1:nan", "'nan' is no weight of the layer relu1_1"),
        (f"{STYLE} nope.pth", "the loss network is not at"),
        ("pix2pix --data pairs --preset tiny --set ngf=-4", "ngf is -4; it must be from 1 to"),
        ("pix2pix --data pairs --preset tiny --set learning_rate=nan", "learning_rate is nan; it must be above 0"),
        ("pix2pix --data pairs --preset tiny --set patch_layers=-1", "patch_layers is -1; it must be from 0"),
        ("pix2pix --data pairs --preset tiny --set ngf=8 --set ngf=16", "--set ngf is given twice, as 8 and as 16"),
        ("pix2pix --data pairs --preset tiny --steps 3 --set steps=9", "--steps 3 and --set steps=9 say the same"),
        ("pix2pix --data pairs --preset tiny --set ngf", "--set ngf: it must be key=value"),
        ("pix2pix --data pairs --preset tiny --seed -1", "seed"),
        ("pix2pix --data pairs --preset tiny --gpus-per-worker nan", "gpus-per-worker"),
        ("pix2pix --data single --preset tiny", "1 of 1 images are no A|B side by side"),
        ("cyclegan --data pairs --preset tiny", "unpaired training wants images of two domains"),
        (
            "pix2pix --data pairs --data-b single --preset tiny",
            "takes its images from --data, or A from --data-a and B",
        ),
        (
            "pix2pix --data-a pairs --preset tiny",
            "takes its images from --data, or A from --data-a and B from --data-b",
        ),
        ("srresnet --data-a pairs --data-b single --preset tiny", "srresnet takes one set of images: give --data in"),
        (
            "pix2pix --data-a pairs --data-b . --input A=x --preset tiny",
            "--input A gives the A sides of the pairs",
        ),
        ("pix2pix --data-a pairs --data-b pairs/ --preset tiny", "--data-a and --data-b are one place"),
        ("pix2pix --data pairs --stop-after 3 --preset tiny", "--stop-after goes by what --validate measures"),
        ("pix2pix --data pairs --validate 1.5 --preset tiny", "--validate 1.5: a share must be above 0 and below 1"),
        ("cyclegan --data pairs --validate 0.1 --preset tiny", "cyclegan has no targets: --validate measures in the"),
        ("style_transfer --data single --validate 0.1 --preset tiny", "style_transfer has no targets that --validate"),
        ("pix2pix --preset tiny", "from --data, or A from --data-a and B"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_mistakes_end_in_a_sentence(place, capsys, words, says, dry):
    """What the recipe needs is looked at by `--dry-run` and by the training alike."""
    status = cli._status(["train", *words.split(), "--output", "out", *(["--dry-run"] if dry else [])])
    said = capsys.readouterr().err
    data = ("wants", "needs one folder", "side by side", "is not at")
    assert status == (1 if any(word in says for word in data) else 2), said
    assert says in said
    assert "Traceback" not in said
    assert "the details are in" not in said
    assert not (place / "out").exists()


def test_a_dry_run_says_what_it_takes_for_what_and_prints_json(place, capsys):
    """Standard output is the spec alone; nothing is written."""
    words = ["train", "pix2pix", "--preset", "tiny", "--data", "pairs", "--output", "out", "--dry-run"]
    assert cli._status(words) == 0
    said = capsys.readouterr()
    assert "1 file, each taken for A|B side by side, e.g. 80x40" in said.err

    def never(constant):
        raise AssertionError(constant)

    assert json.loads(said.out, parse_constant=never)["recipe"] == "pix2pix"
    assert not (place / "out").exists()


@pytest.mark.parametrize("option", ["--data", "--output"])
def test_an_empty_place_is_refused(place, capsys, option):
    """An unset shell variable is not this folder."""
    words = {"--data": "pairs", "--output": "out"} | {option: ""}
    asked = [word for pair in words.items() for word in pair]
    assert cli._status(["train", "pix2pix", "--preset", "tiny", *asked]) == 2
    assert "empty" in capsys.readouterr().err
