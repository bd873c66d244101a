"""Pairs whose A sides come from an output or a table are trained on as a person asks for it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.jobs import cli
from recast.models.bundle import write
from recast.models.description import Bundle
from recast.models.descriptor import Descriptor
from recast.models.networks.identity import Identity
from recast.models.preview import GAP_PX
from recast.models.recipes.pix2pix import TINY
from tests.conftest import bulk_runs_here

SHADES = (60, 130, 200)
"""How bright the images of each pair are: A in red, B in green."""


def coloured(path: Path, channel: int, shade: int) -> Path:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[..., channel] = shade
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def as_output(poses: Path) -> Path:
    """An output whose images are those of a folder."""
    bundle = Bundle(
        name="same", recipe="none", network="identity", arguments={}, descriptor=Descriptor(task="translate", halo_px=0)
    )
    write(bundle, Identity(), poses.parent / "same")
    output = poses.parent / "output"
    with bulk_runs_here():
        assert cli._status(["translate", str(poses), str(output), "--model", str(poses.parent / "same")]) == 0
    return output


def as_table(poses: Path) -> Path:
    """A table of the images themselves."""
    images = {path.name: path.read_bytes() for path in sorted(poses.iterdir())}
    table = poses.parent / "poses.parquet"
    pq.write_table(pa.table({"key": list(images), "A": list(images.values())}), table)
    return table


@pytest.mark.parametrize("given", [as_output, as_table])
def test_a_whole_training_takes_its_a_sides_from_elsewhere(trainer_here, tmp_path, capsys, given):
    """Each photograph goes with the A side of its key, and the bundle translates."""
    for n, shade in enumerate(SHADES):
        coloured(tmp_path / f"poses/{n}.png", 0, shade)
        coloured(tmp_path / f"photos/{n}.png", 1, shade)
    place = given(tmp_path / "poses")
    words = ["train", "pix2pix", "--preset", "tiny", "--steps", "3", "--set", "direction=AtoB"]
    asked = ["--data", str(tmp_path / "photos"), "--output", str(tmp_path / "run"), "--input", f"A={place}"]
    assert cli._status([*words, *asked]) == 0
    assert f"3 pairs: A from {place}, B from {tmp_path}/photos" in capsys.readouterr().err
    assert json.loads((tmp_path / "run/run.json").read_text())["counts"]["examples"] == 3
    preview = np.asarray(Image.open(tmp_path / "run/bundle/preview.png"))
    cell = TINY.size_px + GAP_PX
    middles = preview[TINY.size_px // 2 :: cell, TINY.size_px // 2 :: cell]
    shown = {(*map(int, row[0]), *map(int, row[2])) for row in middles}
    assert shown == {(shade, 0, 0, 0, shade, 0) for shade in SHADES}
    with bulk_runs_here():
        command = ["translate", str(tmp_path / "poses"), str(tmp_path / "out"), "--model", str(tmp_path / "run/bundle")]
        assert cli._status(command) == 0
