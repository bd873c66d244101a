"""Every recipe trains on the road, from its own layout of data, into a bundle that can be read."""

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from recast.jobs.samples.faces import write_faces
from recast.models.networks.vgg import VGG
from recast.pipeline import bundles
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from tests.conftest import trainings_here
from tests.models.test_recipes import photograph
from tests.pipeline.bulk.bundle_operation import begun


@pytest.fixture(scope="module")
def shapes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    for number, name in enumerate(("disc", "ring", "star") * 4):
        (folder / name).mkdir(exist_ok=True)
        Image.fromarray(photograph(70, 80, seed=number)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def classifier(shapes, tmp_path_factory) -> str:
    """A loss network that Recast trained."""
    with trainings_here():
        return trained("classifier", shapes, tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def style(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("style") / "style.png"
    Image.fromarray(photograph(seed=9)).save(path)
    return str(path)


def plan(recipe, data, output, **changes) -> TrainingSpec:
    settings = {"recipe": recipe, "preset": "tiny", "data": str(data), "output": str(output), "workers": 2}
    return TrainingSpec(**settings | {"sample_rows": 2, "checkpoint_every": 3, "log_every": 2} | changes)


def trained(recipe, data, output, **changes) -> str:
    """Trains; returns the bundle's place."""
    outcome = train(plan(recipe, data, output, **changes))
    assert outcome.steps > 0
    return f"{output}/bundle"


def test_a_cgan_is_told_what_to_make(trainer_here, shapes, tmp_path):
    """Here with a critic whose penalty is differentiated twice."""
    changes = {"adversarial": "wgan-gp", "norm": "instance"}
    described, network = bundles.fetch(trained("cgan", shapes, tmp_path, overrides=changes)).unpack()
    assert (described.descriptor.task, described.descriptor.conditions) == ("generate", ("latent", "label"))
    assert described.training["classes"] == ["disc", "ring", "star"]
    z = torch.randn(1, 8).expand(3, -1)
    made = network(z, torch.arange(3))
    assert made.shape == (3, 3, 16, 16)
    assert not torch.equal(made[0], made[1])
    grid = Image.open(tmp_path / "bundle" / "preview.png")
    assert grid.size == (6 * 20 - 4, 6 * 20 - 4)  # 36 latents, 16 px each
    lines = [json.loads(line) for p in (tmp_path / "logs").glob("*.jsonl") for line in p.read_text().splitlines()]
    assert all(line["D penalty"] > 0 for line in lines)


def test_classes_need_folders(tmp_path):
    Image.fromarray(photograph()).save(tmp_path / "one.png")
    with pytest.raises(TrainingError, match=r"one\.png is in no folder"):
        train(plan("cgan", tmp_path, tmp_path / "out"))


def test_a_style_is_learned_with_a_loss_network_of_ones_own(trainer_here, classifier, shapes, style, tmp_path):
    ended = trained("style_transfer", shapes, tmp_path, loss_network=classifier, style_image=style)
    described, network = bundles.fetch(ended).unpack()
    assert (described.descriptor.task, described.descriptor.value_range) == ("translate", (0.0, 255.0))
    assert network(torch.rand(1, 3, 32, 32) * 255).shape == (1, 3, 32, 32)
    again = plan(
        "style_transfer", shapes, tmp_path, loss_network=classifier, style_image=str(shapes / "disc/0.png"), steps=9
    )
    with pytest.raises(TrainingError, match="holds a training with other settings .*style_image was sha256:"):
        train(again)


def test_srgan_starts_from_srresnet_with_a_published_loss_network(trainer_here, shapes, tmp_path):
    """The loss network is a file with torchvision's names; the generator begins as the regression left it."""
    torch.manual_seed(0)
    buffer = io.BytesIO()
    torch.save(VGG(blocks=[[4], [8], [8]]).state_dict(), buffer)
    (tmp_path / "vgg.pth").write_bytes(buffer.getvalue())
    small = {"channels": "8", "blocks": "2", "patch_px": "8", "reduce_from": "1", "reduce_to": "1"}
    start = begun("srresnet", tmp_path / "srresnet", **small)
    settings = {"loss_network": str(tmp_path / "vgg.pth"), "start_from": start}
    ended = trained("srgan", shapes, tmp_path / "srgan", overrides=small | {"learning_rate": "1e-9"}, **settings)
    before, after = (bundles.fetch(url).unpack()[1].state_dict() for url in (start, ended))
    assert all(torch.allclose(before[key], after[key], atol=1e-5) for key in before)
    with pytest.raises(TrainingError, match="can't start from .*: size mismatch"):
        train(plan("srgan", shapes, tmp_path / "other", overrides=small | {"channels": "4"}, **settings))


@pytest.mark.parametrize(
    ("recipe", "changes", "sentence"),
    [
        ("srgan", {}, "srgan needs --loss-network"),
        ("style_transfer", {"loss_network": "{classifier}"}, "style_transfer needs --style-image"),
        ("srgan", {"loss_network": "{missing}"}, "the loss network is not at"),
        ("srgan", {"loss_network": "{style}"}, "no checkpoint that can be read"),
        ("style_transfer", {"loss_network": "{classifier}", "style_image": "{classifier}/bundle.json"}, "not-an-image"),
        (
            "srgan",
            {"loss_network": "{classifier}", "overrides": {"perceptual_layers": "relu9_9"}},
            "has no layer 'relu9_9'",
        ),
    ],
)
def test_missing_or_unfit_supplies_are_one_sentence(recipe, changes, sentence, classifier, style, shapes, tmp_path):
    places = {"classifier": classifier, "style": style, "missing": str(tmp_path / "none.pth")}
    changes = {k: v.format(**places) if isinstance(v, str) else v for k, v in changes.items()}
    with pytest.raises((TrainingError, ValueError), match=sentence):
        train(plan(recipe, shapes, tmp_path / "out", **changes))


def test_faces_of_a_table_are_trained_on(trainer_here, tmp_path):
    """The face transformer: several passes through one network before each step."""
    write_faces(str(tmp_path / "faces"), count=2, size_px=96)
    data, table = tmp_path / "faces/people/train", tmp_path / "faces/people/train.parquet"
    for changes, says in (
        ({}, "passcode needs --annotations"),
        ({"recipe": "gan", "annotations": str(table)}, "does not take --annotations"),
    ):
        with pytest.raises(ValueError, match=says):
            train(plan(**{"recipe": "passcode", "data": data, "output": tmp_path / "no"} | changes))
    described, network = bundles.fetch(
        trained("passcode", data, tmp_path / "out", preset="least", annotations=str(table))
    ).unpack()
    assert (described.descriptor.task, described.descriptor.conditions) == ("deidentify", ("mask", "code"))
    assert network.latent == 32
    assert json.loads((tmp_path / "out/run.json").read_text())["provisions"]["faces"].startswith("boxes ")
    lines = [json.loads(line) for p in (tmp_path / "out/logs").glob("*.jsonl") for line in p.read_text().splitlines()]
    assert all(0 < line["T restored L1"] < 1 for line in lines)
