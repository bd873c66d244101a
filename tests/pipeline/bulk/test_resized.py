"""Enlarging to any factor or size: the next larger network, and a fine reduction."""

from collections.abc import Sequence

import numpy as np
import pytest

from recast.jobs import cli
from recast.jobs.commands.bulk import upscaling
from recast.jobs.specs import SpecError, UpscaleOptions
from recast.pipeline import storage
from recast.pipeline.bulk.operation import Operator, Result
from recast.pipeline.bulk.resized import Resizing, Target, reduced
from recast.pipeline.images.pictures import Picture
from recast.pipeline.input_errors import InputError
from recast.pipeline.output.index import current
from recast.pipeline.sources.inputs import Input
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image


class Larger(Operator):
    """Every pixel as a square of so many."""

    def __init__(self, factor: int) -> None:
        self.factor, self.calls = factor, 0

    def __call__(self, pictures: Sequence[Picture], items: Sequence[Input]) -> list[Result | InputError]:
        self.calls += 1
        return [Result(picture=self._enlarged(picture)) for picture in pictures]

    def _enlarged(self, picture: Picture) -> Picture:
        pixels = picture.pixels.repeat(self.factor, 0).repeat(self.factor, 1)
        alpha = None if picture.alpha is None else picture.alpha.repeat(self.factor, 0).repeat(self.factor, 1)
        return picture.with_pixels(pixels, alpha)


def picture(width: int, height: int, dtype: type = np.uint8, alpha: bool = False) -> Picture:
    pixels = np.full((height, width, 3), 200 if dtype is np.uint8 else 50_000, dtype)
    return Picture(pixels=pixels, alpha=np.full((height, width), 90, np.uint8) if alpha else None)


@pytest.mark.parametrize(
    ("target", "given", "size", "by"),
    [
        (Target(scale=3), (20, 10), (60, 30), 4),
        (Target(scale=1.5), (21, 10), (32, 15), 2),
        (Target(width=64), (20, 10), (64, 32), 4),
        (Target(height=15), (20, 10), (30, 15), 2),
        (Target(width=100, height=40), (20, 30), (27, 40), 2),
        (Target(width=40), (20, 10), (40, 20), 2),
        (Target(width=10), (20, 10), (10, 5), 0),
        (Target(width=20), (20, 10), (20, 10), 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_next_larger_network_and_a_reduction(target, given, size, by, dtype):
    operators = {2: Larger(2), 4: Larger(4)}
    (result,) = Resizing(operators, target)([picture(*given, dtype, alpha=True)], [])
    assert isinstance(result, Result)
    assert (result.picture.width, result.picture.height) == size
    assert result.picture.pixels.dtype == dtype
    assert (result.picture.pixels == (200 if dtype is np.uint8 else 50_000)).all()
    assert (result.picture.alpha == 90).all()
    assert {factor: operator.calls for factor, operator in operators.items()} == {f: int(f == by) for f in (2, 4)}


def test_what_no_network_enlarges_so_far_fails():
    (result,) = Resizing({2: Larger(2)}, Target(width=100))([picture(20, 10)], [])
    assert isinstance(result, InputError)
    assert str(result) == "too-small: 20 x 10 px to 100 x 50 px is 5 times as large; 2 times is the most"


def test_a_reduction_keeps_what_is_smooth_and_takes_out_what_is_too_fine():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)[None, :, None].repeat(8, 0)
    half = reduced(Picture(pixels=np.ascontiguousarray(ramp)), (32, 4)).pixels[2, 4:-4, 0].astype(int)
    assert np.abs(half - np.linspace(0, 255, 64).reshape(32, 2).mean(1)[4:-4]).max() <= 1.5
    stripes = np.tile(np.array([0, 255], np.uint8), 32)[None, :, None].repeat(8, 0)
    grey = reduced(Picture(pixels=np.ascontiguousarray(stripes)), (24, 8)).pixels[:, 4:-4]
    assert np.abs(grey.astype(int) - 128).max() < 40


def test_a_scale_that_a_network_has_is_the_job_as_ever():
    for options in (UpscaleOptions(), UpscaleOptions(scale=2), UpscaleOptions(scale=4)):
        job, operation = upscaling("in", "out", options)
        assert (operation, dict(job.making)) == (None, {})
    job, operation = upscaling("in", "out", UpscaleOptions(scale=3))
    assert job.model.endswith("upscale-x4")
    assert operation.name.endswith("to x3")
    assert job.making == {"target": "x3"}


def test_rows_of_a_run_to_a_size(tmp_path):
    """Images of several sizes, one too small; another size is another output."""
    model = upscaler(tmp_path / "bundle")
    for name, size in (("a", (24, 16)), ("b", (40, 30)), ("tiny", (6, 6))):
        image(tmp_path / f"in/{name}.png", size=size)
    how = ["--model", model, "--on", "here", "--max-failed", "1"]
    command = ["upscale", str(tmp_path / "in"), str(tmp_path / "out"), *how]
    assert cli._status([*command, "--size", "32x"]) == 0
    rows = current(*storage.filesystem(str(tmp_path / "out")), ["key", "width", "height", "error"]).to_pylist()
    found = {row["key"]: (row["width"], row["height"]) for row in rows}
    assert found == {"a.png": (32, 48), "b.png": (32, 43), "tiny.png": (None, None)}
    assert next(row["error"] for row in rows if row["key"] == "tiny.png").startswith("too-small: ")
    assert cli._status([*command, "--size", "32x"]) == 0
    assert cli._status([*command, "--size", "33x"]) == 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scale": 3, "size": "9x"}, "are two sizes"),
        ({"scale": 7}, "enlarges 4 times at most"),
    ],
)
def test_sizes_that_make_no_sense(options, says):
    with pytest.raises(ValueError, match=says):
        UpscaleOptions(**options)


@pytest.mark.parametrize("size", ["0x10", "x", "10", "x0", "10x00", "-3x", "axb", ""])
def test_sizes_that_are_none(size):
    with pytest.raises(ValueError, match="size"):
        UpscaleOptions(size=size)


def test_a_bundle_enlarges_no_further_than_it_does(tmp_path):
    with pytest.raises(SpecError, match="--scale 3: .* enlarges 2 times"):
        upscaling("in", "out", UpscaleOptions(scale=3, model=upscaler(tmp_path / "bundle")))
