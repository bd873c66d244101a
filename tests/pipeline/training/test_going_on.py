"""What an output says of the training in it: when it goes on, with what, and who may write it."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from recast.models import recipes
from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.lease import Lease, LeaseError, confirm
from recast.pipeline.training import progress
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.faults import comes_again
from recast.pipeline.training.log import write_run
from recast.pipeline.training.preparation import Prepared, prepared
from recast.pipeline.training.progress import TrainingFacts
from recast.pipeline.training.road import train
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.spec import Start


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def plan(pairs, **changes):
    settings = {
        "recipe": "pix2pix", "preset": "tiny", "data": str(pairs), "output": str(pairs.parent / "out"), "steps": 3,
        "threads_per_worker": 1, "log_every": 1, "sample_rows": 1,
    }  # fmt: skip
    overrides = changes.pop("overrides", {})
    return TrainingSpec(**settings | changes, overrides={"constant_share": 1.0} | overrides)


def reached(asked, step, **changes):
    """Make the output one of a training that has come to a step, without its having happened."""
    found = prepared(asked)
    assert isinstance(found, Prepared)
    recipe = recipes.build(asked.recipe, found.config)
    networks = {name: network.state_dict() for name, network in recipe.networks.items()}
    Checkpoints(asked.output).save(step, {"networks": networks}, keep=3, confirmed=lambda: None)
    write_run(asked.output, {**found.run, "seconds": 1.0, **changes})


def test_a_diverged_training_goes_on_as_its_error_says(trainer_here, pairs):
    """The advice is a command that works; run.json says from which step on which settings hold."""
    train(plan(pairs))
    hot = {"learning_rate": "1e30"}
    with pytest.raises(TrainingError, match="add --resume-with to resume from step 3 with the new ones"):
        train(plan(pairs, steps=8, overrides=hot))
    with pytest.raises(TrainingError, match=r"of step 3, .* same command, --resume-with and --set learning_rate=2.5e"):
        train(plan(pairs, steps=8, overrides=hot, resume_with=True))
    cool = plan(pairs, steps=5, overrides={"learning_rate": "1e-4"}, precision="bf16", resume_with=True)
    assert train(cool).steps == 5
    run = json.loads((pairs.parent / "out" / "run.json").read_text())
    assert [(entry["step"], entry["changed"]["learning_rate"]) for entry in run["resumed_with"]] == [
        (3, [0.0005, 1e30]),
        (3, [1e30, 0.0001]),
    ]
    assert run["resumed_with"][1]["changed"]["precision"] == ["fp32", "bf16"]
    optimizers = Checkpoints(cool.output).load(5)["optimizers"]
    assert {group["lr"] for state in optimizers.values() for group in state["param_groups"]} == {1e-4}
    assert train(cool).already_done


def test_a_training_without_a_checkpoint_locks_nothing(pairs):
    """A first try that failed may be repeated with any settings."""
    found = prepared(plan(pairs, overrides={"ngf": 5}))
    write_run(plan(pairs).output, {**found.run, "status": "failed"})
    again = prepared(plan(pairs, overrides={"ngf": 8}, seed=3))
    assert (again.start.step, again.start.changes, again.run["spec"]["config"]["ngf"]) == (0, {}, 8)
    assert "resumed_with" not in again.run


def test_what_shapes_the_networks_can_not_change(pairs):
    """--resume-with loads what was learned; other networks have no use for it."""
    reached(plan(pairs), 2)
    with pytest.raises(TrainingError, match=r"with other settings \(ngf\): they make other networks .* there, .* here"):
        prepared(plan(pairs, overrides={"ngf": 16}, resume_with=True))
    with pytest.raises(TrainingError, match="recipe was pix2pix, now cyclegan.*; choose another --output, or repeat"):
        prepared(plan(pairs, recipe="cyclegan", resume_with=True))


def test_going_on_is_said(pairs):
    """From which step, and that more steps are another schedule; a finished training says that it is finished."""
    reached(plan(pairs), 3, status="finished")
    assert isinstance(prepared(plan(pairs)), Start)
    said = prepared(plan(pairs, steps=9)).said
    assert said[0] == "3 files, each taken for A|B side by side, e.g. 80x40"
    assert "resuming from step 3" in said
    assert any("steps were 3 and are 9 now: the learning rate follows a schedule" in sentence for sentence in said)


def test_images_that_come_or_go_are_noticed(pairs):
    """The same folder with another image is said; the same images elsewhere are the same data, others are not."""
    reached(plan(pairs), 2)
    moved = pairs.rename(pairs.parent / "moved")
    assert not prepared(plan(moved)).start.changes
    Image.new("RGB", (80, 40)).save(moved / "new.png")
    with pytest.raises(TrainingError, match=r"data was .*pairs, now .*moved"):
        prepared(plan(moved))
    assert prepared(plan(moved, resume_with=True)).start.changes.keys() == {"data"}
    back = moved.rename(pairs)
    found = prepared(plan(back))
    assert any("the data have changed since this training was begun (3 examples then, 4 now)" in s for s in found.said)
    assert found.run["data_changed_at_steps"] == [2]


@pytest.mark.parametrize("strange", ["mine", '{"format": "mine"}', "[]"])
def test_a_run_json_of_somebody_elses_stays(pairs, strange):
    output = pairs.parent / "out"
    output.mkdir()
    (output / "run.json").write_text(strange)
    with pytest.raises(TrainingError, match=r"out/run\.json is of no training of Recast's; move it away"):
        train(plan(pairs))
    assert (output / "run.json").read_text() == strange


def test_one_training_at_a_time(pairs):
    """A second training on an output is refused before it touches anything."""
    output = pairs.parent / "out"
    fs, root = storage.filesystem(str(output))
    with Lease(fs, root, "another run"), pytest.raises(LeaseError, match="is being written by run another run"):
        train(plan(pairs))
    assert not (output / "run.json").exists()


def test_who_lost_the_lease_publishes_and_deletes_nothing(tmp_path):
    """Workers look before they write and before they delete whether the output is still their training's."""
    fs, root = storage.filesystem(str(tmp_path))
    checkpoints = Checkpoints(str(tmp_path))
    with Lease(fs, root, "one") as lease:
        mine = partial(confirm, fs, root, lease.claim)
        for step in (1, 2):
            checkpoints.save(step, {}, keep=2, confirmed=mine)
    with Lease(fs, root, "another"), pytest.raises(LeaseError, match="was taken over by run another"):
        checkpoints.save(3, {}, keep=1, confirmed=mine)
    assert checkpoints.steps() == [1, 2]


@pytest.mark.parametrize(
    ("fault", "again"),
    [
        (ValueError("expected non-negative integer"), True),
        (TrainingError("unfit"), True),
        (LeaseError("lost"), True),
        (InputError("corrupt", "no image"), True),
        (KeyError("x"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x8 and 9x3)"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:3"), False),
        (RuntimeError("NCCL error: unhandled system error"), False),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (storage.StorageError("the store is away"), False),
        (TimeoutError("no answer"), False),
        (ConnectionResetError("reset"), False),
    ],
)
def test_what_would_come_again_is_not_tried_again(fault, again):
    """Mistakes and bugs end a training at once; storage, networks, devices and lost workers recover."""
    assert comes_again(fault) is again


def test_slow_steps_are_told_of_between_those_that_are_logged(trainer_here, pairs, monkeypatch):
    """Whoever waits knows the time left before twenty steps are through."""
    told = []
    monkeypatch.setattr(progress, "TOLD_EVERY_S", 0.0)
    monkeypatch.setattr(TrainingFacts, "tell", lambda facts, said: (told.append(said), facts._facts.update(said)))
    train(plan(pairs, steps=4, log_every=3))
    steps = [(said["step"], len(said["scalars"]) > 1) for said in told if said.get("scalars")]
    assert steps == [(1, False), (2, False), (3, True), (4, True)]
    assert all(said["scalars"]["images_per_s"] > 0 for said in told if said.get("scalars"))
