"""What `import recast` gives: one image in and out, an output as a table and images, and jobs with their progress."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import recast
from recast.jobs import cli
from recast.jobs.specs import SpecError
from recast.pipeline.input_errors import InputError
from tests.pipeline.bulk.bundle_operation import begun, upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def photo(photos: Path) -> Image.Image:
    return Image.open(photos / "astronaut.png").convert("RGB").crop((120, 0, 330, 220))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_one_image_is_what_a_job_makes_of_it(photo, model, tmp_path):
    """The same pixels, and torch is left with the threads that it had."""
    photo.save(tmp_path / "photo.png")
    assert cli._status(["upscale", str(tmp_path / "photo.png"), str(tmp_path / "x2.png"), "--model", model]) == 0
    before = torch.get_num_threads()
    large = recast.upscale(photo, model=model)
    assert torch.get_num_threads() == before
    assert np.array_equal(pixels(large), pixels(Image.open(tmp_path / "x2.png")))
    assert np.array_equal(recast.upscale(pixels(photo), model=model), pixels(large))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "HSV"])
def test_an_image_of_any_mode(mode, photo, model):
    image = Image.fromarray(np.full((20, 30), 30_000, np.uint16)) if mode == "I;16" else photo.convert(mode)
    if "A" in mode:
        image.putalpha(128)
    large = recast.upscale(image, model=model)
    assert large.size == (2 * image.width, 2 * image.height)
    assert ("A" in large.mode) == (mode in ("LA", "RGBA"))


def test_rotation_is_taken_as_people_see_it(model):
    image = Image.new("RGB", (30, 20))
    image.getexif()[0x0112] = 6
    assert recast.upscale(image, model=model).size == (40, 60)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((20, 30), "uint8"),
        ((20, 30, 1), "uint8"),
        ((20, 30, 2), "uint8"),
        ((20, 30, 3), "uint16"),
        ((20, 30, 4), "uint8"),
    ],
)
def test_arrays_come_back_as_they_came(shape, dtype, model):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)
    large = recast.upscale(image, model=model)
    assert large.dtype == image.dtype
    assert large.shape == (2 * shape[0], 2 * shape[1], *shape[2:])


@pytest.mark.parametrize(
    ("image", "fault", "says"),
    [
        ("photo.jpg", TypeError, "not str"),
        (np.zeros((4, 4), np.float32), ValueError, "float32; they must be uint8 or uint16"),
        (np.zeros((4, 4, 5), np.uint8), ValueError, r"shape is \(4, 4, 5\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"shape is \(0, 4, 3\)"),
    ],
)
def test_what_is_no_image_is_refused(image, fault, says, model):
    with pytest.raises(fault, match=says):
        recast.upscale(image, model=model)


def test_a_face_is_replaced_and_one_in_doubt_holds_the_image(photo):
    clean = recast.deidentify(photo)
    changed = (pixels(clean) != pixels(photo)).any(2)
    assert 0.05 < changed.mean() < 0.6
    with pytest.raises(recast.HeldError, match="doubt|score"):
        recast.deidentify(photo, threshold=1.0)
    assert issubclass(recast.HeldError, InputError)


def test_a_loaded_bundle_says_what_it_is_and_another_task_is_refused(photo, tmp_path, model):
    painter = begun("pix2pix", tmp_path / "bundle")
    network = recast.load(painter, device="cpu")
    small = photo.resize((64, 64))
    assert network(small).size == (64, 64)
    assert np.array_equal(pixels(recast.translate(small, painter)), pixels(network(small)))
    assert "on cpu" in repr(network)
    with pytest.raises(Exception, match="not for `upscale`"):
        recast.upscale(small, model=painter)


def test_a_job_runs_with_progress_and_its_output_opens(photo, model, tmp_path):
    (tmp_path / "in").mkdir()
    for n in range(3):
        photo.resize((20 + n, 16)).save(tmp_path / f"in/{n}.png")
    (tmp_path / "in/none.png").write_bytes(b"no image")
    told, said = [], []
    job = recast.Job("upscale", str(tmp_path / "in"), str(tmp_path / "out"), model=model, on="here", max_failed=1)
    summary = job.run(lambda *about: told.append(about), said.append)
    assert (summary.ok, summary.failed) == (3, 1)
    assert told[0][:2] == (0, 4)
    assert told[-1][1] == 4
    assert said[0] == "upscale: in this process, as --on says"

    output = recast.open(str(tmp_path / "out"))
    assert (len(output), list(output)) == (4, ["0.png", "1.png", "2.png"])
    assert set(output.table(["key", "status"]).column_names) == {"key", "status"}
    before, after = output.before_and_after("1.png")
    assert (before.size, after.size) == ((21, 16), (42, 32))
    assert output.row("none.png")["error"].startswith("not-an-image")
    for key in ("none.png", "nowhere.png"):
        with pytest.raises(KeyError):
            output[key]
    with pytest.raises(FileNotFoundError, match="no output of a bulk job"):
        recast.open(str(tmp_path / "in"))


def test_a_deidentified_output_shows_no_originals(photo, tmp_path):
    (tmp_path / "in").mkdir()
    photo.save(tmp_path / "in/a.png")
    recast.Job("deidentify", str(tmp_path / "in"), str(tmp_path / "out"), on="here", detector=["centerface"]).run()
    before, after = recast.open(str(tmp_path / "out")).before_and_after("a.png")
    assert before is None
    assert after.size == photo.size


def test_a_training_is_a_job_too(tmp_path):
    for n in range(4):
        for side in "AB":
            (tmp_path / "in" / side).mkdir(parents=True, exist_ok=True)
            Image.effect_noise((64, 64), n + 1).convert("RGB").save(tmp_path / f"in/{side}/{n}.png")
    where = {"data": str(tmp_path / "in"), "output": str(tmp_path / "run")}
    job = recast.Job("train", "pix2pix", **where, preset="tiny", steps=2, on="here", set={"batch_size": 2})
    assert job.run().steps == 2
    assert recast.load(str(tmp_path / "run/bundle"))(Image.new("RGB", (64, 64))).size == (64, 64)


@pytest.mark.parametrize(
    ("words", "options", "says"),
    [
        (("report", "out"), {}, "a Job is one of upscale, translate, deidentify, restore, annotate, train"),
        (("upscale", "in", "out"), {"scale": 7}, "scale"),
        (("upscale", "in", "out"), {"nonsense": 1}, "nonsense"),
    ],
)
def test_what_the_command_line_would_not_take_a_job_does_not(words, options, says):
    with pytest.raises(Exception, match=says) as raised:
        recast.Job(*words, **options)
    assert words[0] != "report" or isinstance(raised.value, SpecError)


def test_importing_recast_imports_nothing_heavy():
    looked = "import sys, recast; print([n for n in ('torch', 'numpy', 'ray', 'recast.jobs') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'upscaled'"):
        recast.upscaled  # noqa: B018
