"""Validation: examples that are never trained on are measured at each checkpoint, and the best network is kept."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from recast.models.metrics.psnr import psnr_db
from recast.models.recipes.ranges import SettingError
from recast.pipeline import bundles
from recast.pipeline.progress import Silent
from recast.pipeline.training import example_files, validation
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.log import write_run
from recast.pipeline.training.preparation import Prepared, prepared
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from tests.pipeline.bulk.bundle_operation import begun
from tests.pipeline.training.states import flattened


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (4, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((80, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def plan(pairs, output="out", **changes):
    settings = {
        "recipe": "pix2pix", "preset": "tiny", "data": str(pairs), "output": str(pairs.parent / output), "steps": 6,
        "threads_per_worker": 1, "log_every": 1, "sample_rows": 1, "checkpoint_every": 2, "validate": "0.4",
        "overrides": {"constant_share": 1.0, "batch_size": 2, "direction": "AtoB"},
    }  # fmt: skip
    return TrainingSpec(**settings | changes)


def scores(output, name):
    texts = [path.read_text() for path in sorted((output / "logs").glob("*.jsonl"))]
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def test_a_share_is_held_out_by_the_names_alone(pairs):
    """What joins the data moves nothing, and about so many examples are held out as are asked for."""
    examples = [example_files.Example(key=f"{n}.png", inputs=()) for n in range(2000)]
    kept, held = validation.split(examples, 0.1)
    assert 150 < len(held) < 250
    assert not {e.key for e in kept} & {e.key for e in held}
    assert {e.key for e in validation.split(examples[:1000], 0.1)[1]} == {e.key for e in held if e in examples[:1000]}
    assert len(validation.few_of(examples)) == validation.MOST_EXAMPLES
    with pytest.raises(TrainingError, match=r"--validate 0.001 of 3 examples holds out none; give another share, or a"):
        validation.split(examples[:3], 0.001)


def test_scores_are_those_of_the_network_on_images_it_never_saw(trainer_here, pairs):
    """At each checkpoint; the bundle of the best one is kept beside the newest; the page and a resumed run go on."""
    asked = plan(pairs)
    found = prepared(asked)
    assert isinstance(found, Prepared)
    assert 2 <= len(found.held_out) <= 8
    assert not {e.key for e in found.held_out} & {e.key for e in found.listing.examples}
    held, kept = len(found.held_out), len(found.listing.examples)
    assert f"training on {kept} of them, validation on {held} examples" in found.said
    train(asked)
    output = pairs.parent / "out"
    psnr = scores(output, validation.PSNR)
    assert list(psnr) == list(scores(output, validation.SSIM)) == [2, 4, 6]
    best = max(psnr, key=psnr.__getitem__)
    assert bundles.describe(str(output / "bundle/best")).training["step"] == best
    assert bundles.describe(str(output / "bundle")).training["step"] == 6
    assert Checkpoints(str(output)).load(6)["validation"]["best"] == psnr[best]
    assert psnr[best] == pytest.approx(independent(output / "bundle/best", pairs, found), abs=1e-9)


def independent(bundle, pairs, found):
    """The mean PSNR of a bundle on the held-out pairs, as pix2pix cuts them."""
    load, middle = found.config.load_px, (found.config.load_px - found.config.size_px) // 2
    cut = slice(middle, middle + found.config.size_px)
    _, network = bundles.fetch(str(bundle)).unpack()
    values = []
    for example in found.held_out:
        pair = np.asarray(Image.open(pairs / example.inputs[0].key))
        shown, wanted = (
            np.asarray(Image.fromarray(half).resize((load, load), Image.Resampling.BICUBIC))[cut, cut]
            for half in (pair[:, :40], pair[:, 40:])
        )
        x = torch.from_numpy(np.ascontiguousarray(shown)).permute(2, 0, 1)[None].float() / 127.5 - 1
        made = ((network(x)[0].permute(1, 2, 0) + 1) / 2).clamp(0, 1)
        values.append(psnr_db((made * 255).round().byte().numpy(), wanted))
    return np.mean(values)


def test_a_training_that_is_resumed_ends_in_the_same_bits_and_knows_its_best(trainer_here, pairs):
    """Measuring takes nothing from the training: without it, over the same examples, the weights are the same."""
    train(plan(pairs))
    train(plan(pairs, "parts", steps=4))
    train(plan(pairs, "parts"))
    found = prepared(plan(pairs, "another"))
    assert isinstance(found, Prepared)
    (pairs.parent / "kept").mkdir()
    for example in found.listing.examples:
        shutil.copy(pairs / example.inputs[0].key, pairs.parent / "kept")
    train(plan(pairs.parent / "kept", "without", validate=None))
    whole, parts, without = (Checkpoints(str(pairs.parent / name)).load(6) for name in ("out", "parts", "without"))
    assert whole["validation"] == parts["validation"]
    for state in (parts, without):
        one, other = flattened(whole["networks"]), flattened(state["networks"])
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_of_others_is_measured_whole(trainer_here, pairs):
    shutil.copytree(pairs, pairs.parent / "others")
    train(plan(pairs, validate=str(pairs.parent / "others"), steps=2))
    assert list(scores(pairs.parent / "out", validation.PSNR)) == [2]
    run = json.loads((pairs.parent / "out/run.json").read_text())
    assert (run["counts"]["examples"], run["spec"]["validate"]) == (12, str(pairs.parent / "others"))


def test_a_folder_in_the_data_is_not_trained_on_and_what_can_not_be_read_there_is_told(trainer_here, pairs):
    """Nothing that is measured is trained on, wherever it lies; nothing that should be measured is left out unsaid."""
    (pairs / "later").mkdir()
    for number in range(4):
        (pairs / f"{number}.png").rename(pairs / f"later/{number}.png")
    (pairs / "later/0.png").write_bytes(b"no image")
    outcome = train(plan(pairs, validate=str(pairs / "later"), steps=2))
    run = json.loads((pairs.parent / "out/run.json").read_text())
    assert run["counts"]["examples"] == 8
    (warning,) = [each for each in outcome.warnings if each.kind == "validation"]
    assert warning.sentence.startswith("1 validation example left out, which can't be read: 0.png: ")
    with pytest.raises(TrainingError, match="all examples to train on are among those of --validate"):
        train(plan(pairs, "other", validate=str(pairs)))


def test_scores_of_other_examples_are_not_compared():
    """A best that was measured on others is nobody's to beat."""
    one = validation.Standing.after([{"key": "a.png"}], {})
    one.note({validation.PSNR: 7.0})
    one.note({validation.PSNR: 6.0})
    kept = dataclasses.asdict(one)
    assert validation.Standing.after([{"key": "a.png"}], kept) == one
    assert (one.best, one.since_best) == (7.0, 1)
    assert validation.Standing.after([{"key": "b.png"}], kept).best == -math.inf
    assert validation.Standing.after([{"key": "a.png"}], kept, by="another network").best == -math.inf


def test_a_training_that_gets_no_better_stops_by_choice(trainer_here, pairs, monkeypatch):
    """It says so, keeps its best network, is finished when given again, and goes on without --stop-after."""
    values = iter([5.0, 7.0, 6.0, 6.5, 6.0, 6.0, 6.0, 6.0])
    measured = {validation.PSNR: 0.0}
    monkeypatch.setattr(validation.Validation, "measured", lambda *_: measured | {validation.PSNR: next(values)})
    asked = plan(pairs, steps=12, stop_after=2)
    said = Told()
    outcome = train(asked, said)
    assert outcome.steps == 8
    sentence = "stopped at step 8 of 12: no better on the validation examples for 2 checkpoints; the best network is in"
    assert any(sentence in line for line in said.sentences)
    assert bundles.describe(f"{asked.output}/bundle/best").training["step"] == 4
    run = json.loads((pairs.parent / "out/run.json").read_text())
    assert (run["status"], run["steps"], run["stopped_early"][:9]) == ("finished", 8, "stopped a")
    assert train(asked).already_done
    write_run(asked.output, run | {"status": "running", "stopped_early": ""})  # as if it had been lost just before
    assert (train(asked).steps, next(values)) == (8, 6.0)
    more = train(plan(pairs, steps=12, stop_after=3))  # one more checkpoint that is no better
    assert (more.steps, more.already_done) == (10, False)
    assert train(plan(pairs, steps=12)).steps == 12
    assert "stopped_early" not in json.loads((pairs.parent / "out/run.json").read_text())


class Told(Silent):
    """Keeps what a training says."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def says(self, sentence: str) -> None:
        self.sentences.append(sentence)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """An untrained classifier's bundle: its features are as good as any for a test."""
    return begun("classifier", tmp_path_factory.mktemp("judge"))


def test_lpips_is_measured_in_the_features_of_a_loss_network(trainer_here, pairs, judge):
    """It decides nothing: not the weights, and not whether a training may be gone on with."""
    train(plan(pairs, loss_network=judge, steps=4))
    train(plan(pairs, steps=6))
    train(plan(pairs, "without"))
    apart = scores(pairs.parent / "out", validation.LPIPS_NAME)
    assert list(apart) == [2, 4]
    assert all(0 < value < 10 for value in apart.values())
    one, other = (flattened(Checkpoints(str(pairs.parent / name)).load(6)["networks"]) for name in ("out", "without"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(SettingError, match="--loss-network .*: the loss network must be a VGG"):
        train(plan(pairs, "none", loss_network=begun("srresnet", pairs.parent / "no-judge")))


def test_cyclegan_is_measured_by_how_like_the_held_out_images_of_b_its_own_are(trainer_here, pairs, judge):
    """The least distance is the best, and no held-out image of either domain is trained on."""
    a, b = (pairs.parent / name for name in ("a", "b"))
    for folder, count in ((a, 12), (b, 8)):
        folder.mkdir()
        for number in range(count):
            shutil.copy(pairs / f"{number}.png", folder / f"{number}.png")
    overrides = {"batch_size": 2}
    asked = plan(pairs, recipe="cyclegan", data=None, data_a=str(a), data_b=str(b), loss_network=judge, validate="0.3",
                 overrides=overrides)  # fmt: skip
    found = prepared(asked)
    assert isinstance(found, Prepared)
    held, kept = (
        {item.source for each in some for item in each.inputs} for some in (found.held_out, found.listing.examples)
    )
    assert not held & kept
    train(asked)
    output = pairs.parent / "out"
    distances = scores(output, validation.KID)
    assert list(distances) == [2, 4, 6]
    few = dataclasses.replace(asked, validate=str(pairs.parent / "one"), output=str(pairs.parent / "few"))
    for side in ("A", "B"):
        (pairs.parent / "one" / f"train{side}").mkdir(parents=True)
        shutil.copy(pairs / "0.png", pairs.parent / "one" / f"train{side}/only.png")
    with pytest.raises(SettingError, match="is 1 example; how like others images are takes 2 or more"):
        prepared(few)
    best = min(distances, key=distances.__getitem__)
    assert bundles.describe(str(output / "bundle/best")).training["step"] == best
