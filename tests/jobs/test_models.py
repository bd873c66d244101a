"""`recast models import` and `export`: a stranger's file in, the original's pixels out, and files for others."""

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from recast.jobs import cli
from recast.jobs.exit_status import BAD_USAGE, DONE, FAILED
from recast.models.descriptor import NetworkInput
from recast.pipeline import bundles, storage
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.bulk.operation import Result
from recast.pipeline.images.pictures import Picture
from tests.models.test_foreign import Evil, packed, reference
from tests.pipeline.bulk.bundle_operation import posed

IMPORTED = (
    "resnet 9, dropout",
    "resnet, old",
    "unet",
    "msrresnet x4",
    "rrdb x2",
    "rrdb x4, first",
    "srvgg x4",
    "style",
)


CROPS = ((slice(100, 228), slice(150, 342)), (slice(100, 164), slice(150, 214)))
"""Rows and columns of a photograph; the second is the smallest that the U-Net of 6 levels takes: its usual size."""


@pytest.mark.parametrize("name", IMPORTED)
def test_an_imported_file_gives_the_originals_pixels(name, tmp_path, photos, capsys):
    """To 1 of 255, through the code that bulk jobs run."""
    network, state, family, (low, high) = reference(name)
    (tmp_path / "their.pth").write_bytes(packed({"params": state}))
    assert cli._status(["models", "import", str(tmp_path / "their.pth"), str(tmp_path / "bundle")]) == DONE
    assert family in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "bundle").iterdir()}
    assert names == {"bundle.json", "generator.safetensors", "preview.png", "README.md"}
    bundle, ours = bundles.fetch(str(tmp_path / "bundle")).unpack()
    generator = Generator(ours, bundle.descriptor, device="cpu", precision="fp32", batch_size=1)
    with Image.open(photos / "chelsea.png") as photo:
        photograph = np.asarray(photo.convert("RGB"))
    for crop in CROPS:
        pixels = np.ascontiguousarray(photograph[crop])
        (result,) = generator([Picture(pixels=pixels)])
        with torch.no_grad():
            values = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255 * (high - low) + low)
        expected = ((values[0].permute(1, 2, 0) - low) / (high - low) * 255).clamp(0, 255).round().numpy()
        assert isinstance(result, Result)
        assert result.picture.pixels.shape == expected.shape
        assert np.abs(result.picture.pixels.astype(int) - expected).max() <= 1


def test_a_bundle_goes_from_and_to_object_storage(bucket, capsys):
    network, state, _, _ = reference("srvgg x4")
    fs, path = storage.filesystem(bucket)
    fs.pipe_file(f"{path}/their.pth", packed(state))
    assert cli._status(["models", "import", f"{bucket}/their.pth", f"{bucket}/bundle", "--name", "small"]) == DONE
    assert cli._status(["models", "show", f"{bucket}/bundle"]) == DONE
    assert '"name": "small"' in capsys.readouterr().out
    assert cli._status(["models", "export", f"{bucket}/bundle", f"{bucket}/small.onnx"]) == DONE
    session = onnxruntime.InferenceSession(fs.cat_file(f"{path}/small.onnx"), providers=["CPUExecutionProvider"])
    images = torch.rand(2, 3, 20, 28)
    (given,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(given), network(images), rtol=1e-4, atol=1e-4)


def test_a_bundle_of_several_inputs_is_exported_with_all_of_them(tmp_path, capsys):
    """What the command prints says what each is."""
    pose = NetworkInput(name="pose", kind="image", channels=1)
    model = posed(tmp_path / "bundle", pose, NetworkInput(name="code", kind="code", channels=2), channels=6)
    assert cli._status(["models", "export", model, str(tmp_path / "posed.onnx")]) == DONE
    assert '"name": "pose", "kind": "image"' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(tmp_path / "posed.onnx", providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == ["image", "pose", "code"]
    assert [len(each.shape) for each in session.get_inputs()] == [4, 4, 2]


def test_mistakes_are_one_sentence(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(packed({"params": {"a": Evil()}}))
    (tmp_path / "noise.pth").write_bytes(b"noise")
    for file, says in (
        ("evil.pth", "no state dict"),
        ("noise.pth", "no checkpoint that can be read"),
        ("none.pth", "no such file"),
    ):
        assert cli._status(["models", "import", str(tmp_path / file), str(tmp_path / "out")]) in (
            FAILED,
            BAD_USAGE,
        )
        assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert cli._status(["models", "export", str(tmp_path / "none"), str(tmp_path / "x.bin")]) == BAD_USAGE
    assert "ends in none of .onnx, .pt2, .pt" in capsys.readouterr().err
