"""A network of several inputs gets each of them, by key; every one decides its row."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import nn

from recast.jobs import cli
from recast.models.descriptor import Descriptor, NetworkInput
from recast.pipeline import bundles
from recast.pipeline.bulk import road, tiles
from recast.pipeline.bulk.accompanied import accompanied
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.images.decode import decode_labels
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.progress import Silent
from recast.pipeline.sources.further_inputs import Fetched, FurtherInput
from recast.pipeline.sources.inventory import Source
from tests.pipeline.bulk.bundle_operation import posed
from tests.pipeline.bulk.test_generator import item, picture
from tests.pipeline.bulk.test_road import image, job, sound, view

IMAGE = NetworkInput(name="image", kind="image")
POSE = NetworkInput(name="pose", kind="image", channels=1)
LABELS = NetworkInput(name="classes", kind="labels", channels=4)
POINTS = NetworkInput(name="points", kind="points", channels=2, value_range=(-1.0, 1.0))
CODE = NetworkInput(name="code", kind="code", channels=2)
NOISE = NetworkInput(name="noise", kind="noise", channels=5, value_range=(-9.0, 9.0))


class Keeping(nn.Module):
    """Gives its first three channels back, and keeps what it was given."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.given = x[0]
        return x[:, :3]


def given_to(*further: NetworkInput, accompany: tuple = (), key: str = "a", first: NetworkInput = IMAGE) -> np.ndarray:
    """What a network of one tensor sees, [C, H, W]."""
    network = Keeping()
    descriptor = Descriptor(task="translate", inputs=(first, *further))
    operator = Generator(network, descriptor, device="cpu", precision="fp32", batch_size=1)
    shown = picture(4, 6, 1 if first.kind == "labels" else 3)
    if first.kind == "labels":
        shown = Picture(pixels=shown.pixels % 4)
    (result,) = operator([dataclasses.replace(shown, further=accompany)], [item(key)])
    assert not isinstance(result, InputError), result
    return network.given.numpy()


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    made = Image.fromarray(pixels)
    if mode == "P":
        made = made.convert("P")
        made.putdata(pixels.reshape(-1).tolist())
    made.save(buffer, "PNG")
    return buffer.getvalue()


def test_each_kind_reaches_the_network_in_the_order_of_its_inputs():
    pose, classes = picture(4, 6, 3, seed=1), np.arange(24, dtype=np.uint8).reshape(4, 6, 1) % 4
    found = given_to(
        POSE, LABELS, POINTS, accompany=(pose, Picture(pixels=classes), np.array([0, 4, 6, 2], np.float32))
    )
    assert found.shape == (3 + 1 + 4 + 4, 4, 6)
    assert np.allclose(found[:3].transpose(1, 2, 0), picture(4, 6).pixels / 255)
    assert np.allclose(found[3], pose.pixels @ np.array([0.299, 0.587, 0.114]) / 255, atol=0.01)
    assert np.array_equal(found[4:8].argmax(0)[..., None], classes)
    assert np.array_equal(found[4:8].sum(0), np.ones((4, 6)))
    assert found[8:, 0, 0].tolist() == [-1, 1, 1, 0], "shares of the image's sides, in the input's range"


def test_labels_may_be_what_source_gives():
    found = given_to(first=LABELS)
    assert np.array_equal(found.argmax(0)[..., None], picture(4, 6, 1).pixels % 4)


def test_noise_is_decided_by_the_key_alone_and_follows_the_normal_distribution():
    a, b, again = (given_to(NOISE, key=key)[3:, 0, 0] for key in "aba")
    assert np.array_equal(a, again)
    assert not np.array_equal(a, b)
    drawn = np.concatenate([given_to(NOISE, key=str(n))[3:, 0, 0] for n in range(200)])
    assert abs(drawn.mean()) < 0.1
    assert abs(drawn.std() - 1) < 0.1


def test_a_class_that_the_network_does_not_know_is_its_images_fault():
    with pytest.raises(InputError, match="unfit-input: classes has the class 9, and the network knows 0 to 3"):
        given_to(LABELS, accompany=(Picture(pixels=np.full((4, 6, 1), 9, np.uint8)),))


def test_a_label_map_is_its_numbers_whatever_colours_show_them():
    numbers = np.arange(24, dtype=np.uint8).reshape(4, 6)
    for data in (png(numbers), png(numbers, "P"), png(numbers.astype(np.uint16))):
        assert np.array_equal(decode_labels(data, 100).pixels[..., 0], numbers)
    with pytest.raises(InputError, match="not-labels: an image in colours"):
        decode_labels(png(np.zeros((4, 6, 3), np.uint8)), 100)
    with pytest.raises(InputError, match="not-labels: the number 300 is in it"):
        decode_labels(png(np.full((4, 6), 300, np.uint16)), 100)
    with pytest.raises(InputError, match="too-large"):
        decode_labels(png(numbers), 10)


def test_an_input_of_another_size_or_that_can_not_be_read_is_named():
    place = item("pose")
    for data, why in ((png(np.zeros((4, 7), np.uint8)), "other-size: pose: it has 7 x 4 px"), (b"", "empty: pose: ")):
        further = [Fetched(FurtherInput(name="pose", kind="image", place=place), data)]
        with pytest.raises(InputError, match=why):
            accompanied(picture(4, 6), further, 1000)


@pytest.mark.parametrize("first", [IMAGE, CODE])
def test_tiles_cut_all_inputs_alike(tmp_path, monkeypatch, first):
    """Numbers stay whole, also where they come first."""
    pose = picture(75, 131, 1, seed=1)
    code = np.array([0.25, 0.75], np.float32)
    further, accompany, channels = ((POSE,), (pose,), 4) if first is IMAGE else ((IMAGE, POSE), (code, pose), 6)
    network = bundles.fetch(posed(tmp_path / "b", *further, first=first, channels=channels)).unpack()
    operator = Generator(network[1], network[0].descriptor, device="cpu", precision="fp32", batch_size=2)
    given = dataclasses.replace(picture(75, 131), further=accompany)
    (whole,) = operator([given])
    monkeypatch.setattr(tiles, "CORE_PX", 32)
    monkeypatch.setattr(tiles, "SMALL_PIXELS", 0)
    (tiled,) = operator([given])
    assert tiled.picture.notes[0].startswith("exact from")
    assert np.abs(tiled.picture.pixels.astype(int) - whole.picture.pixels).max() <= 1


def test_results_do_not_depend_on_the_company_in_a_batch(tmp_path):
    """Each image goes with its own pose."""
    described, network = bundles.fetch(posed(tmp_path / "b", POSE)).unpack()
    operator = Generator(network, described.descriptor, device="cpu", precision="fp32", batch_size=3)
    several = [dataclasses.replace(picture(9, 9), further=(picture(9, 9, 1, seed=n),)) for n in range(5)]
    together = [result.picture.pixels for result in operator(several)]
    alone = [operator([one])[0].picture.pixels for one in several]
    assert all(np.array_equal(a, b) for a, b in zip(together, alone, strict=True))
    assert not np.array_equal(alone[0], alone[1])


@pytest.fixture
def work(tmp_path: Path):
    """Ten images, their poses in an output of their own, and the bundle that takes both."""
    for n in range(6):
        image(tmp_path / f"in/{n}.png", n)
        image(tmp_path / f"poses/{n}.png", 10 + n)
    return tmp_path, posed(tmp_path / "bundle", POSE)


def pose_job(folder: Path, **changes):
    return job(folder / "poses", folder / "posed", posed(folder / "plain", channels=3), job="translate", **changes)


@pytest.mark.usefixtures("worker_here")
def test_a_row_follows_all_of_its_inputs(work):
    """Another pose makes its row new, and no other; one that lacks a pose fails until there is one."""
    folder, model = work
    asked = job(folder / "in", folder / "out", model, job="translate", inputs={"pose": str(folder / "posed")})
    (folder / "poses/5.png").rename(folder / "5.png")
    road.run(pose_job(folder), Silent())
    first = road.run(asked, Silent())
    assert (first.ok, first.failures) == (5, {"no-input": 1})
    before = view(folder / "out")
    assert before["5.png"][2] == (
        f"no-input: the network takes pose (image), and {folder}/posed has nothing of this key"
    )
    assert road.run(asked, Silent()).settled_before == 6
    (folder / "5.png").rename(folder / "poses/5.png")
    image(folder / "poses/2.png", 99)
    road.run(pose_job(folder), Silent())
    again = road.run(asked, Silent())
    assert (again.ok, again.failed, again.settled_before) == (2, 0, 4)
    after = view(folder / "out")
    assert {key for key in after if after[key] != before[key]} == {"2.png", "5.png"}
    assert sound(folder / "out")


@pytest.mark.usefixtures("worker_here")
def test_results_are_the_networks_for_the_image_and_its_pose(work):
    """The pose's colours as their luma, since the network takes one channel."""
    folder, model = work
    pq.write_table(
        pa.table({"key": [f"{n}.png" for n in range(6)], "pose": [f"poses/{n}.png" for n in range(6)]}),
        folder / "poses.parquet",
    )
    asked = job(folder / "in", folder / "out", model, job="translate", inputs={"pose": str(folder / "poses.parquet")})
    assert road.run(asked, Silent()).ok == 6
    network = bundles.fetch(model).unpack()[1]
    shown, pose = (np.asarray(Image.open(folder / place / "3.png"), np.float32) / 255 for place in ("in", "poses"))
    grey = pose @ np.array([0.299, 0.587, 0.114], np.float32)
    x = torch.from_numpy(np.dstack([shown, grey])).permute(2, 0, 1)[None]
    wanted = (network(x)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).round()
    made = Image.open(io.BytesIO(OutputFileSystem(str(folder / "out")).cat_file("3.png")))
    assert np.abs(np.asarray(made, int) - wanted).max() <= 1


@pytest.mark.usefixtures("worker_here")
def test_inputs_that_do_not_fit_the_bundle_are_refused_before_work_starts(work, capsys):
    folder, model = work
    road.run(pose_job(folder), Silent())
    command = ["translate", str(folder / "in"), str(folder / "out"), "--model", model]
    for further, why in {
        "": "takes the input pose (image) besides SOURCE: give --input pose=OUTPUT or pose=TABLE",
        f"--input pose={folder}/posed --input mask={folder}/posed": "--input mask: ",
        "--input pose": "--input pose: it must be NAME=OUTPUT or NAME=TABLE",
        f"--input pose={folder}/posed --input pose=x": "--input pose is given twice",
        f"--input pose={folder}/in": "it is neither an output nor a table",
        f"--input pose={folder}/./out": "--input pose is the output of this very job",
    }.items():
        assert cli._status([*command, *further.split()]) == 2
        assert why in capsys.readouterr().err
    assert cli._status(["upscale", str(folder / "in"), str(folder / "out"), "--input", f"pose={folder}/posed"]) == 2
    assert "takes no such input besides SOURCE; it takes none" in capsys.readouterr().err
    assert not (folder / "out").exists()


@pytest.mark.usefixtures("worker_here")
def test_a_dry_run_shows_where_inputs_come_from(work, capsys):
    folder, model = work
    road.run(pose_job(folder), Silent())
    command = ["translate", str(folder / "in"), str(folder / "out"), "--model", model, "--dry-run"]
    assert cli._status([*command, "--input", f"pose={folder}/posed"]) == 0
    assert f'"pose": "{folder}/posed"' in capsys.readouterr().out


def test_what_is_given_by_name_is_a_setting_and_where_it_lies_is_none(tmp_path):
    def digest(**inputs: str) -> str:
        return dataclasses.replace(
            job(tmp_path, tmp_path / "out", "m"), source=Source(urls=("x",)), inputs=inputs
        ).spec_digest()

    assert digest(pose="a") == digest(pose="b") != digest()
