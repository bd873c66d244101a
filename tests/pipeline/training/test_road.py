"""Trainings run on a cluster, go on where they stopped, and refuse what can't work in a sentence."""

import json
import shutil

import numpy as np
import pytest
import ray
import torch
from PIL import Image

from recast.models import bundle
from recast.models.description import WEIGHTS
from recast.pipeline import bundles
from recast.pipeline.training import road
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from tests.pipeline.training.fire import KILLS, Fire
from tests.pipeline.training.states import flattened

STEPS = max(30, 10 * KILLS)
EXAMPLES = 5
"""Odd, so that two workers get three each, one of them twice."""
OVERRIDES = {"ema_decay": 0.9, "constant_share": 1.0, "batch_size": 4}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images of two domains."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(EXAMPLES + 3):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(0, 255, (12, 14, 3), np.uint8))
        domain = folder / ("A" if number < EXAMPLES else "B")
        domain.mkdir(exist_ok=True)
        coarse.resize((140, 120), Image.Resampling.BICUBIC).save(domain / f"{number}.png")
    return folder


def plan(photos, output, **changes):
    """Of CycleGAN, since its pools of former results are one more thing that a checkpoint must hold."""
    settings = {
        "recipe": "cyclegan", "preset": "tiny", "data": str(photos), "output": str(output), "steps": STEPS,
        "overrides": OVERRIDES, "workers": 2, "threads_per_worker": 1, "checkpoint_every": 5,
        "log_every": 2, "sample_rows": 2,
    }  # fmt: skip
    return settings | changes


def final_state(output):
    return Checkpoints(str(output)).load(STEPS)


@pytest.fixture(scope="module")
def undisturbed(ray_local, photos, tmp_path_factory):
    """The output of a training that nothing happened to."""
    output = tmp_path_factory.mktemp("undisturbed")
    train(TrainingSpec(**plan(photos, output)))
    return output


def test_output_has_everything(undisturbed):
    """A finished training leaves the newest checkpoints, a bundle, logs and run.json as documented."""
    run = json.loads((undisturbed / "run.json").read_text())
    assert (run["format"], run["status"], run["steps"], run["recipe"]) == (
        "recast-training/1", "finished", STEPS, "cyclegan",
    )  # fmt: skip
    assert run["counts"]["examples"] == EXAMPLES
    assert run["counts"]["parameters"]["G"] > 1000
    assert run["spec"]["config"]["ema_decay"] == 0.9
    assert Checkpoints(str(undisturbed)).steps() == [STEPS - 10, STEPS - 5, STEPS]
    assert {p.name for p in (undisturbed / "bundle").iterdir()} == {
        "bundle.json", "generator.safetensors", "preview.png", "README.md",
    }  # fmt: skip
    assert {p.name for p in (undisturbed / "logs" / "samples").iterdir()} >= {
        "step-00000005.png",
        f"step-{STEPS:08d}.png",
    }
    lines = [json.loads(s) for s in (undisturbed / "logs" / "scalars-00000002.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines][-1] == STEPS
    assert {"time", "lr", "images_per_s", "waiting", "G adversarial", "F adversarial"} <= lines[0].keys()
    assert run["warnings"] == []


def test_bundle_is_the_averaged_generator(undisturbed):
    """The exported weights are those of the checkpoint's average, and run."""
    folder = undisturbed / "bundle"
    described, network = bundle.read((folder / "bundle.json").read_bytes(), (folder / WEIGHTS).read_bytes())
    averaged = final_state(undisturbed)["ema"]
    assert all(torch.equal(v, averaged[k]) for k, v in network.state_dict().items())
    assert described.network == "resnet_generator"
    assert network(torch.rand(1, 3, 16, 16)).shape == (1, 3, 16, 16)


def test_finished_training_is_left_alone(undisturbed, photos):
    """Running the same command again does nothing."""
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()}
    outcome = train(TrainingSpec(**plan(photos, undisturbed)))
    assert outcome.already_done
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()} == before


def test_damaged_checkpoints_and_another_number_of_workers_are_told_of(undisturbed, trainer_here, photos, tmp_path):
    """Half a checkpoint is passed over for the one before it; as many workers as are asked for go on from there."""
    output = tmp_path / "out"
    shutil.copytree(undisturbed, output)
    newest = output / "checkpoints" / f"step-{STEPS:08d}.pt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    more = {"steps": STEPS + 4, "workers": 1}
    outcome = train(TrainingSpec(**plan(photos, output, **more)))
    assert (outcome.steps, Checkpoints(str(output)).steps()[-1]) == (STEPS + 4, STEPS + 4)
    said = {warning.kind: warning for warning in outcome.warnings}
    assert said["damaged"].step == said["workers"].step == STEPS - 5
    assert "damaged or foreign" in said["damaged"].sentence
    assert "continues with 1 worker after 2" in said["workers"].sentence
    assert "no longer bit for bit" in said["workers"].sentence
    run = json.loads((output / "run.json").read_text())
    assert {warning["kind"] for warning in run["warnings"]} == said.keys()


def test_other_settings_are_refused(undisturbed, photos):
    """An output of another training is not overwritten; the difference is named."""
    with pytest.raises(TrainingError, match=r"other settings \(learning_rate was 0.0002, now 0.01\)"):
        train(TrainingSpec(**plan(photos, undisturbed, overrides=OVERRIDES | {"learning_rate": 0.01})))


def test_a_training_begun_here_goes_on_on_ray_and_ends_in_the_same_bits(ray_local, photos, tmp_path):
    """One worker in this process, and one of Ray Train's: wherever a step is taken, it is the same."""
    asked = {"workers": 1, "steps": 8, "checkpoint_every": 4}
    for name, steps, on in (("here", 8, "here"), ("both", 4, "here"), ("both", 8, "ray")):
        train(TrainingSpec(**plan(photos, tmp_path / name, **asked | {"steps": steps, "on": on})))
    one, other = (flattened(Checkpoints(str(tmp_path / name)).load(8)) for name in ("here", "both"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"workers": 1}, "in this process, with one worker"),
        ({"workers": 2}, "on Ray, with 2 workers"),
        ({"workers": 1, "on": "ray"}, "on Ray, as --on says"),
        ({"workers": 1, "address": "10.0.0.1:6379"}, "on Ray, on the cluster that RAY_ADDRESS names, 10.0.0.1:6379"),
        ({"workers": 1, "on": "here", "address": "10.0.0.1:6379"}, "in this process, as --on says"),
    ],
)
def test_where_a_training_runs_and_why(changes, says, tmp_path, monkeypatch):
    ray.shutdown()
    monkeypatch.setenv("RAY_ADDRESS", changes.get("address", ""))
    asked = {name: value for name, value in changes.items() if name != "address"}
    on_ray, why = road.where(TrainingSpec(**plan(tmp_path, tmp_path / "out", **asked)))
    assert why == says
    assert on_ray == says.startswith("on Ray")


def test_several_workers_are_not_one(tmp_path):
    with pytest.raises(ValueError, match="--on here trains with one worker, and --workers asks for 2"):
        TrainingSpec(**plan(tmp_path, tmp_path / "out", on="here"))


def test_unpaired_data_wants_two_domains(tmp_path, photos):
    with pytest.raises(TrainingError, match="wants images of two domains in folders A and B"):
        train(TrainingSpec(**plan(photos / "A", tmp_path)))


def test_pix2pix_diverging_is_stopped(trainer_here, photos, tmp_path):
    """A loss that is no longer finite ends the training with a sentence; the last good checkpoint is kept."""
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    for photo in (photos / "A").iterdir():
        Image.open(photo).resize((160, 80)).save(pairs / photo.name)
    settings = plan(pairs, tmp_path / "out", recipe="pix2pix", steps=40, overrides={"learning_rate": "1e30"}, workers=1)
    with pytest.raises(TrainingError, match=r"the training diverged: .* is no longer finite at step"):
        train(TrainingSpec(**settings | {"checkpoint_every": 1, "log_every": 1}))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["status"] == "failed"
    checkpoints = Checkpoints(str(tmp_path / "out"))
    for step in checkpoints.steps():
        networks = checkpoints.load(step)["networks"]
        assert all(torch.isfinite(t).all() for t in flattened(networks).values())


def test_accelerators_that_are_not_there_are_refused(ray_local, photos, tmp_path):
    """A plan that can't be scheduled is refused, and not waited for."""
    from recast.pipeline.cluster import ClusterError

    with pytest.raises(ClusterError, match="2 x 1 GPU"):
        train(TrainingSpec(**plan(photos, tmp_path, gpus_per_worker=1)))
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="--gpus-per-worker 1: this machine has no GPU"):
            train(TrainingSpec(**plan(photos, tmp_path, gpus_per_worker=1, workers=1, on="here")))


@pytest.mark.timeout(360 + 240 * KILLS)
def test_weights_end_bit_for_bit_the_same_whatever_was_killed(undisturbed, photos, bucket, ray_cluster_two_nodes):
    """Workers, driver and node, at random. Where a second run takes over is a matter of luck, where it ends is not."""
    ray.shutdown()
    output = f"{bucket}/trained"
    fire = Fire(ray_cluster_two_nodes, plan(photos, output))
    fire.burn(120 + 240 * KILLS)
    assert len(fire.deaths) == KILLS
    assert {"worker", "kill_driver", "node"} <= set(fire.deaths)
    burnt, calm = Checkpoints(output).load(STEPS), final_state(undisturbed)
    for part in ("networks", "optimizers", "ema"):
        one, other = flattened(burnt[part]), flattened(calm[part])
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
    pools, undisturbed_pools = ([flattened(pool) for pool in one["recipes"]] for one in (burnt, calm))
    assert len(pools) == 2
    for one, other in zip(pools, undisturbed_pools, strict=True):
        assert one
        assert all(torch.equal(one[name], other[name]) for name in other)
    assert bundles.describe(f"{output}/bundle").training["step"] == STEPS
