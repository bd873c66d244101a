"""The parts of the training road, without a cluster: examples, checkpoints, the step's switches, the log."""

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from recast.models import recipes
from recast.models.recipes import NOTHING
from recast.models.recipes.srresnet import SRResNet
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.training import example_files, examples
from recast.pipeline.training.checkpoints import Checkpoints
from recast.pipeline.training.examples import ExampleCache, ExampleSampler
from recast.pipeline.training.log import TrainingLog
from recast.pipeline.training.settings import TrainingError, TrainingSpec
from recast.pipeline.training.spec import resolved
from recast.pipeline.training.step import WorkerRoad

CPU = torch.device("cpu")


def write_images(folder, names, size=(64, 48)):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(folder / name)


def shard_of(url, images_per_example=1, cache_bytes=1 << 24):
    found = example_files.listed(str(url), images_per_example).examples
    rows = [
        {
            "key": e.key,
            "label": 0,
            "inputs": [dataclasses.asdict(i) for i in e.inputs],
            "regions": b"",
            "masks": "",
            "things": [],
        }
        for e in found
    ]
    return ExampleCache((example_files.read_row(row, images_per_example) for row in rows), cache_bytes)


def plan(tmp_path, **changes):
    settings = {"recipe": "srresnet", "preset": "tiny", "data": str(tmp_path / "data"), "output": str(tmp_path / "out")}
    return TrainingSpec(**(settings | changes))


def draw_of(tmp_path, recipe, **changes):
    write_images(tmp_path / "data", ["a.png", "b.png", "c.png"])
    settings = {"shard": shard_of(tmp_path / "data"), "recipe": recipe, "seed": 0, "rank": 0, "batch_size": 2}
    return ExampleSampler(**(settings | changes))


def test_pairs_are_files_of_one_name_in_a_and_b(tmp_path):
    """A/ and B/ give pairs, whatever the formats."""
    write_images(tmp_path / "A", ["1.png", "2.png"])
    write_images(tmp_path / "B", ["1.jpg", "2.png"])
    found = example_files.listed(str(tmp_path), 2).examples
    assert [(e.key, [i.key for i in e.inputs]) for e in found] == [
        ("1", ["A/1.png", "B/1.jpg"]),
        ("2", ["A/2.png", "B/2.png"]),
    ]


@pytest.mark.parametrize("paired", [True, False])
def test_two_folders_of_any_name_are_what_folders_a_and_b_are(tmp_path, paired):
    """The same examples, and the same digest: a training goes on with its data laid out anew."""
    for one, other in (("both/A", "maps/input"), ("both/B", "elsewhere/photos")):
        write_images(tmp_path / one, ["1.png", "2.png"])
        shutil.copytree(tmp_path / one, tmp_path / other)
    usual = example_files.listed(str(tmp_path / "both"), 2, paired=paired)
    places = str(tmp_path / "maps/input"), str(tmp_path / "elsewhere/photos")
    found = example_files.of_two(*places, paired=paired)
    assert [example.key for example in found.examples] == [example.key for example in usual.examples]
    assert found.digest == usual.digest
    assert found.said[0] == f"A is {places[0]}, and B is {places[1]}"
    assert [row["pixels"] for row in map(read, found.examples)] == [row["pixels"] for row in map(read, usual.examples)]


def read(example):
    (row,) = example_files.rows([example])
    return example_files.read_row(row, 2)


def test_side_by_side_files_are_cut_in_two(tmp_path):
    """A file A|B gives its left and right halves."""
    write_images(tmp_path, ["pair.png"], size=(64, 32))
    (left, right) = shard_of(tmp_path, 2)[0].images
    whole = np.asarray(Image.open(tmp_path / "pair.png"))
    assert np.array_equal(left, whole[:, :32])
    assert np.array_equal(right, whole[:, 32:])


def test_lonely_images_are_refused(tmp_path):
    """An image without its partner is named."""
    write_images(tmp_path / "A", ["1.png", "2.png"])
    write_images(tmp_path / "B", ["1.png"])
    with pytest.raises(TrainingError, match=r"A/2\.png is in only one of the folders A and B"):
        example_files.listed(str(tmp_path), 2)


def test_empty_data_are_refused(tmp_path):
    """A folder without images is an error that names it."""
    (tmp_path / "none").mkdir()
    with pytest.raises(TrainingError, match=r"there are no images at .*none"):
        example_files.listed(str(tmp_path / "none"), 1)


def test_unreadable_images_are_left_out_and_named(tmp_path):
    """One damaged file does not stop a training; nothing but damaged files does."""
    write_images(tmp_path, ["good.png"])
    (tmp_path / "bad.png").write_bytes(b"not an image")
    shard = shard_of(tmp_path)
    assert shard.keys == ["good.png"]
    assert shard.unreadable[0].startswith("bad.png: not-an-image")
    (tmp_path / "good.png").unlink()
    with pytest.raises(TrainingError, match=r"none of a worker's images can be read: bad\.png"):
        shard_of(tmp_path)


def test_data_beyond_memory_lie_on_the_local_disk(tmp_path):
    """What doesn't fit in memory comes back from the scratch file as it was."""
    write_images(tmp_path, ["a.png", "b.png", "c.png"])
    resident, spilt = shard_of(tmp_path), shard_of(tmp_path, cache_bytes=64 * 48 * 3)
    assert len(spilt) == 3
    assert all(np.array_equal(resident[n].images[0], spilt[n].images[0]) for n in range(3))


def test_data_beyond_the_local_disk_are_refused(tmp_path, monkeypatch):
    """A set that fits neither memory nor disk is refused with what to do."""
    write_images(tmp_path, ["a.png", "b.png"])
    monkeypatch.setattr(examples, "FREE_DISK_SHARE", 0)
    with pytest.raises(TrainingError, match="train on fewer or smaller images, with more workers, or point TMPDIR"):
        shard_of(tmp_path, cache_bytes=0)


def test_classes_are_folders(tmp_path):
    """Each folder is a class, in the order of their names; an image outside of them is named."""
    write_images(tmp_path / "dog", ["1.png"])
    write_images(tmp_path / "cat", ["1.png", "2.png"])
    found = example_files.listed(str(tmp_path), 1, labelled=True).examples
    assert example_files.classes(found) == ("cat", "dog")
    assert [(e.key, e.label) for e in found] == [("cat/1.png", "cat"), ("cat/2.png", "cat"), ("dog/1.png", "dog")]
    read = [example_files.read_row(row, 1) for row in example_files.rows(found)]
    labelled = ExampleCache(read, 1 << 24, with_labels=True)
    assert [labelled[n].label for n in range(3)] == [0, 0, 1]
    assert ExampleCache(read, 1 << 24)[0].label is None
    write_images(tmp_path, ["stray.png"])
    with pytest.raises(TrainingError, match=r"stray\.png is in no folder of .*; training with classes"):
        example_files.listed(str(tmp_path), 1, labelled=True)


@pytest.mark.parametrize("names", [("A", "B"), ("input", "target")])
def test_pairs_are_columns_of_parquet(tmp_path, names):
    """Two columns of images are a pair: A and B by name, others in their order."""
    write_images(tmp_path / "png", ["0.png", "1.png", "2.png", "3.png"])
    images = [(tmp_path / "png" / f"{n}.png").read_bytes() for n in range(4)]
    columns = {names[0]: images[:2], names[1]: images[2:]}
    if names == ("A", "B"):
        columns = dict(reversed(columns.items()))
    pq.write_table(pa.table({"caption": ["x", "y"], **columns}), tmp_path / "pairs.parquet")
    shard = shard_of(tmp_path / "pairs.parquet", 2)
    for row in range(2):
        for side, image in enumerate(shard[row].images):
            assert np.array_equal(image, np.asarray(Image.open(tmp_path / "png" / f"{row + 2 * side}.png")))


def test_batches_follow_from_seed_step_and_rank(tmp_path):
    """Any step's batch can be made by itself; it differs between steps, ranks and seeds."""
    recipe = recipes.build("srresnet", recipes.configured("srresnet", "tiny"))
    draw = draw_of(tmp_path, recipe)
    in_order = list(draw.batches(0, 5))
    assert torch.equal(in_order[4]["high"], draw.batch(4)["high"])
    others = [draw.batch(3), draw_of(tmp_path, recipe, rank=1).batch(4), draw_of(tmp_path, recipe, seed=1).batch(4)]
    assert not any(torch.equal(in_order[4]["high"], other["high"]) for other in others)


def test_an_epoch_shows_every_example_once(tmp_path):
    """Examples are shuffled, not drawn with replacement."""

    class Numbered:
        paired = True

        def example(self, raw, rng, *, augment):
            return {"mean": torch.tensor(float(raw.images[0].mean()))}

    draw = draw_of(tmp_path, Numbered(), batch_size=1)
    epochs = [[float(draw.batch(3 * epoch + n)["mean"]) for n in range(3)] for epoch in range(4)]
    assert all(len(set(epoch)) == 3 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_newest_checkpoints_are_kept(tmp_path):
    """Older checkpoints go when newer ones are whole; contents come back as they were."""
    checkpoints = Checkpoints(str(tmp_path))
    for step in (5, 10, 15):
        checkpoints.save(step, {"weights": torch.full((2,), step)}, keep=2, confirmed=lambda: None)
    assert checkpoints.steps() == [10, 15]
    assert torch.equal(checkpoints.load(15)["weights"], torch.full((2,), 15))


def test_damaged_checkpoint_is_named(tmp_path):
    """A checkpoint that can't be read, or that would run code, is refused with its name."""
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(1, {"code": test_damaged_checkpoint_is_named}, keep=2, confirmed=lambda: None)
    (tmp_path / "checkpoints" / "step-00000002.pt").write_bytes(b"half a file")
    for step in (1, 2):
        with pytest.raises(TrainingError, match=rf"can't resume from .*step-0000000{step}\.pt.*; delete it"):
            checkpoints.load(step)


def road_of(tmp_path, ema_decay=0.9, **switches):
    torch.manual_seed(0)
    recipe = SRResNet(recipes.configured("srresnet", "tiny"), NOTHING)
    return WorkerRoad(recipe, plan(tmp_path, **switches), device=CPU, ema_decay=ema_decay, batch_size=4)


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_state_is_everything(tmp_path):
    """A road that loads another's state takes the same next step, to the last bit."""
    road, other = road_of(tmp_path), road_of(tmp_path)
    batches = list(draw_of(tmp_path, road.recipe).batches(0, 4))
    for step in range(3):
        road.step(batches[step], step)
    Checkpoints(str(tmp_path)).save(3, road.state(), keep=1, confirmed=lambda: None)
    other.load(Checkpoints(str(tmp_path)).load(3))
    road.step(batches[3], 3)
    other.step(batches[3], 3)
    assert torch.equal(weights(road.recipe.networks["G"]), weights(other.recipe.networks["G"]))
    assert torch.equal(weights(road.generator), weights(other.generator))
    assert not torch.equal(weights(road.generator), weights(road.recipe.networks["G"]))


def test_checkpoints_of_before_are_read(tmp_path):
    """The averaged weights and the recipes' own states had other names."""
    road, checkpoints = road_of(tmp_path), Checkpoints(str(tmp_path))
    state = road.state()
    checkpoints.save(1, {"memories": [{}], "averaged": state.pop("ema"), **state}, keep=1, confirmed=lambda: None)
    read = checkpoints.load(1)
    road_of(tmp_path).load(read)
    assert read["recipes"] == [{}]


def test_accumulating_is_one_big_batch(tmp_path):
    """A batch in two parts moves the weights as the whole does."""
    whole, parted = road_of(tmp_path), road_of(tmp_path, accumulate=2)
    batch = draw_of(tmp_path, whole.recipe, batch_size=4).batch(0)
    whole.step(batch, 0)
    parted.step(batch, 0)
    assert torch.allclose(weights(whole.recipe.networks["G"]), weights(parted.recipe.networks["G"]), atol=1e-5)


@pytest.mark.parametrize("switches", [{"precision": "bf16"}, {"channels_last": False}])
def test_switches_stay_close_to_the_plain_step(tmp_path, switches):
    """Precision and memory layout change a step's loss by rounding only."""
    plain, switched = road_of(tmp_path), road_of(tmp_path, **switches)
    batch = draw_of(tmp_path, plain.recipe).batch(0)
    expected, got = (road.step(batch, 0)["G reconstruction"].item() for road in (plain, switched))
    assert got == pytest.approx(expected, rel=0.02)


def test_without_an_average_the_product_is_the_network(tmp_path):
    """ema_decay 0 keeps no second copy."""
    road = road_of(tmp_path, ema_decay=0.0)
    assert road.generator is road.recipe.networks["G"]


def test_log_comes_in_segments(tmp_path):
    """Each start writes a segment of its own, named by its first step; TensorBoard's events lie beside them."""
    for first in (10, 30):
        log = TrainingLog(str(tmp_path))
        log.scalars(first, {"G L1": 0.5})
        log.scalars(first + 10, {"G L1": 0.25})
        log.close()
    names = sorted(path.name for path in (tmp_path / "logs").iterdir())
    assert names[-2:] == ["scalars-00000010.jsonl", "scalars-00000030.jsonl"]
    assert sum(name.startswith("events.out.tfevents") for name in names) == 2
    lines = [json.loads(line) for line in (tmp_path / "logs" / names[-1]).read_text().splitlines()]
    assert [(line["step"], line["G L1"]) for line in lines] == [(30, 0.5), (40, 0.25)]


def test_a_batch_has_something_for_every_worker(tmp_path):
    """A batch smaller than the workers that share it is refused before anything starts."""
    with pytest.raises(ValueError, match="batch_size is 4; it must be at least workers x accumulate, 3 x 2"):
        resolved(plan(tmp_path, workers=3, accumulate=2))


def test_workers_come_in_ranges_that_can_share_examples(tmp_path):
    """Two to eight workers can share 840 examples evenly, whichever they are; some ranges ask too much."""
    assert plan(tmp_path, workers=8, least_workers=2).sizes_multiple == 840
    assert plan(tmp_path, workers=3).sizes_multiple == 3
    with pytest.raises(ValueError, match="workers from 2 to 16 can't share examples evenly"):
        plan(tmp_path, workers=16, least_workers=2)
    with pytest.raises(ValueError, match="at least 4 workers exceed the maximum of 2"):
        plan(tmp_path, workers=2, least_workers=4)


def test_bad_plans_are_refused(tmp_path):
    """A plan checks its own numbers."""
    with pytest.raises(ValueError, match="workers\n.*greater than or equal to 1"):
        plan(tmp_path, workers=0)


def test_faces_are_examples_of_their_own_or_their_images(tmp_path):
    """A table by key: one example a face, cut to what is around it, or one an image, whether it has faces or not."""
    write_images(tmp_path / "data", ["a.png", "b.png"], size=(200, 150))
    points = [float(n) for n in range(60, 70)]
    rows = [
        {"key": "a.png", "box": [60, 50, 80, 75], "landmarks": points, "identity": "ada"},
        {"key": "a.png", "box": [100, 20, 130, 60], "identity": "bob"},
        {"key": "elsewhere.png", "box": [0, 0, 9, 9]},
    ]
    (tmp_path / "faces.json").write_text(json.dumps(rows))
    table = RegionTable(str(tmp_path / "faces.json"))
    each = example_files.annotated(str(tmp_path / "data"), table, each=True, labelled=True).examples
    assert [(e.key, e.label) for e in each] == [("a.png", "ada"), ("a.png (1)", "bob")]
    every = example_files.annotated(str(tmp_path / "data"), table, each=False).examples
    assert [(e.key, len(e.regions)) for e in every] == [("a.png", 2), ("b.png", 0)]

    def read(examples, each_face):
        rows = [
            {"key": e.key, "label": 0, "inputs": [dataclasses.asdict(i) for i in e.inputs],
             "regions": e.regions.tobytes(), "masks": "", "things": []}
            for e in examples
        ]  # fmt: skip
        return ExampleCache((example_files.read_row(row, 1, each_face) for row in rows), 1 << 24, region_columns=14)

    (whole,), faces, *_ = read(every, False)[0]
    assert (whole.shape, faces.shape) == ((150, 200, 3), (2, 14))
    assert faces[0].tolist() == [60, 50, 80, 75, *points]
    assert np.isnan(faces[1, 4:]).all()
    assert read(every, False)[1].regions.shape == (0, 14)
    (part,), face, *_ = read(each, True)[0]
    left, top, right, bottom = face[0, :4].astype(int)
    assert part.shape[0] < 150
    assert np.array_equal(part[top:bottom, left:right], whole[50:75, 60:80])
    assert face[0, 4] - face[0, 0] == points[0] - 60
    for key, labelled, says in (
        ("a.png", True, "gives no identity for a.png"), ("c.png", False, "no face of the table belongs to an image"),
    ):  # fmt: skip
        (tmp_path / "faces.json").write_text(json.dumps([{"key": key, "box": [0, 0, 9, 9]}]))
        table = RegionTable(str(tmp_path / "faces.json"))
        with pytest.raises(TrainingError, match=says):
            example_files.annotated(str(tmp_path / "data"), table, each=True, labelled=labelled)


def test_unfit_images_are_named_before_the_first_step(tmp_path):
    write_images(tmp_path / "data", ["a.png"], size=(16, 12))
    recipe = recipes.build("srresnet", recipes.configured("srresnet", "tiny"))
    with pytest.raises(TrainingError, match=r"can't train on a\.png: it is 16x12 px; patches of 32 px don't fit"):
        shard_of(tmp_path / "data").try_out(recipe)
