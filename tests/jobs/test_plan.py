"""`recast plan` measures a sample and estimates the whole; nothing is written."""

import json

import pytest

from recast.jobs import cli
from recast.models.descriptor import NetworkInput
from recast.pipeline.bulk.sizing import Sizing, sampled
from tests.pipeline.bulk.bundle_operation import posed, upscaler
from tests.pipeline.bulk.test_road import image


def test_a_sample_says_what_the_whole_takes(tmp_path, capsys):
    for n in range(40):
        image(tmp_path / "in" / f"{n}.png", n, (48, 64))
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    model = upscaler(tmp_path / "bundle")
    before = {path: path.stat().st_mtime for path in tmp_path.rglob("*")}
    assert (
        cli._status(["plan", str(tmp_path / "in"), "--model", model, "--sample", "60", "--hours", "2", "--json"]) == 0
    )
    facts = json.loads(capsys.readouterr().out)
    assert (facts["inputs"], facts["sampled"], facts["unreadable"], facts["device"]) == (41, 41, 1, "cpu")
    assert facts["megapixels"] == pytest.approx(48 * 64 / 1e6)
    spent = facts["decode_s"] + facts["generate_s"] + facts["encode_s"]
    assert facts["core_hours"] == pytest.approx(spent * 41 / 3600)
    assert facts["bytes_written"] > facts["output_bytes"] * 41
    assert {path: path.stat().st_mtime for path in tmp_path.rglob("*")} == before
    assert cli._status(["plan", str(tmp_path / "in"), "--sample", "3"]) == 0
    assert "bound by: generator" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert cli._status(["plan", str(tmp_path / "empty")]) == 0
    assert "holds no inputs" in capsys.readouterr().out


def test_further_inputs_are_joined_and_counted(tmp_path, capsys):
    """An image without one is one that can't be worked on; without any place for them there is no plan."""
    for n in range(4):
        image(tmp_path / f"in/{n}.png", n, (48, 64))
        image(tmp_path / f"poses/{n}.png", 10 + n, (48, 64))
    table = tmp_path / "poses.csv"
    table.write_text("".join(["key,pose\n", *(f"{n}.png,poses/{n}.png\n" for n in range(3))]))
    model = posed(tmp_path / "bundle", NetworkInput(name="pose", kind="image", channels=1))
    command = ["plan", str(tmp_path / "in"), "--model", model, "--json"]
    assert cli._status(command) == 2
    assert "takes the input pose (image) besides SOURCE: give --input pose=OUTPUT" in capsys.readouterr().err
    assert cli._status([*command, "--input", f"pose={table}"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["inputs"], facts["sampled"], facts["unreadable"], facts["further"]) == (4, 4, 1, 1)
    sizes = [path.stat().st_size for folder in ("in", "poses") for path in (tmp_path / folder).iterdir()]
    assert facts["input_bytes"] == pytest.approx(2 * sum(sizes) / len(sizes), rel=0.05)
    assert facts["generate_s"] > 0


def test_what_bounds_a_job_is_named():
    facts = {"inputs": 10**6, "sampled": 9, "unreadable": 0, "input_bytes": 1e6, "output_bytes": 2e6, "megapixels": 1.0}
    gpu = Sizing(device="cuda", fetch_s=0.01, decode_s=0.02, generate_s=0.005, encode_s=0.02, **facts)
    assert (gpu.bound(), gpu.cores_per_accelerator()) == ("codecs", pytest.approx(8))
    assert gpu.accelerator_hours() == pytest.approx(0.005 * 1e6 / 3600)
    slow = Sizing(device="cpu", fetch_s=3.0, decode_s=0.1, generate_s=1.0, encode_s=0.1, **facts)
    assert slow.bound() == "storage"
    assert slow.core_hours() == pytest.approx(1.2 * 1e6 / 3600)


def test_every_input_is_as_likely_to_besampled():
    counts = [0] * 10
    for seed in range(600):
        total, chosen = sampled(iter(range(10)), 3, seed)
        assert total == 10
        for n in chosen:
            counts[n] += 1
    assert max(counts) < 1.35 * min(counts)


def test_a_few_steps_say_what_a_training_takes_and_leave_nothing(tmp_path, capsys):
    """The batch and its share, the size of what will be written, and a pace; --output stays as it is."""
    for n in range(40):
        image(tmp_path / f"photos/{n}.png", n, (64, 64))
    before = sorted(tmp_path.rglob("*"))
    command = ["plan", "train", "srresnet", "--data", str(tmp_path / "photos"), "--output", str(tmp_path / "out"),
               "--preset", "tiny", "--steps", "1000", "--checkpoint-every", "300", "--set", "batch_size=5"]  # fmt: skip
    assert cli._status([*command, "--workers", "2", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["steps"], facts["batch_size"], facts["workers"], facts["share"]) == (1000, 5, 2, 3)
    assert (facts["examples"], facts["rounds"], facts["checkpoints"]) == (40, 125, 4)
    assert facts["decoded_bytes"] == 40 * 64 * 64 * 3
    assert facts["seconds"] >= 1000 * facts["step_s"] > 0
    assert facts["checkpoint_bytes"] > facts["bundle_bytes"] > 10_000
    assert facts["memory_bytes"] > 100e6
    assert sorted(tmp_path.rglob("*")) == before
    assert cli._status(command) == 0
    assert "each of the 40 is seen 125 times" in capsys.readouterr().out
    assert cli._status(["plan", "train", "srgan", *command[3:]]) == 2
    assert "srgan needs --loss-network" in capsys.readouterr().err
