"""One image in, one image out: just that file, and nothing where there is no result."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.jobs import cli
from recast.pipeline import storage
from recast.pipeline.output.index import current
from tests.pipeline.bulk.bundle_operation import upscaler


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_one_image_is_what_a_run_over_it_gives(photo, model, tmp_path, capsys):
    to = tmp_path / "photo-x2.png"
    assert cli._status(["upscale", str(photo), str(to), "--model", model, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["status"], said["width"], said["height"]) == ("ok", 60, 80)
    assert cli._status(["upscale", str(photo), str(tmp_path / "out"), "--model", model, "--on", "here"]) == 0
    (row,) = current(*storage.filesystem(str(tmp_path / "out")), ["sha256", "length"]).to_pylist()
    assert (row["sha256"], row["length"]) == (said["sha256"], to.stat().st_size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "photo-x2.png", "photo.png"]


@pytest.mark.parametrize(("ending", "format"), [("png", "PNG"), ("jpg", "JPEG"), ("JPEG", "JPEG"), ("webp", "WEBP")])
def test_the_ending_decides_the_format(ending, format, photo, model, tmp_path, capsys):
    to = tmp_path / f"large.{ending}"
    assert cli._status(["upscale", str(photo), str(to), "--model", model]) == 0
    assert "60 x 80 px" in capsys.readouterr().out
    with Image.open(to) as image:
        assert (image.format, image.size) == (format, (60, 80))


def test_what_is_there_stays_unless_it_may_go(photo, model, tmp_path, capsys):
    to = tmp_path / "large.png"
    to.write_bytes(b"mine")
    command = ["upscale", str(photo), str(to), "--model", model]
    assert cli._status(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert to.read_bytes() == b"mine"
    assert cli._status([*command, "--replace"]) == 0
    assert Image.open(to).size == (60, 80)


def test_a_failed_image_writes_nothing_and_says_why(model, tmp_path, capsys):
    (tmp_path / "photo.jpg").write_bytes(b"no image")
    assert cli._status(["upscale", str(tmp_path / "photo.jpg"), str(tmp_path / "x.png"), "--model", model]) == 3
    said = capsys.readouterr().err
    assert "photo.jpg: failed (not-an-image: " in said
    assert "nothing is written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_held_image_writes_nothing(photo, tmp_path, capsys):
    (tmp_path / "boxes.json").write_text('{"photo.png": [{"box": [2, 2, 20, 20]}]}')
    command = ["deidentify", str(photo), str(tmp_path / "x.png"), "--detector", "none"]
    assert cli._status([*command, "--boxes", str(tmp_path / "boxes.json")]) == 0
    assert not np.asarray(Image.open(tmp_path / "x.png"))[10, 10].any()
    (tmp_path / "boxes.json").write_text('{"another.png": [{"box": [2, 2, 20, 20]}]}')
    assert cli._status([*command, "--replace", "--boxes", str(tmp_path / "boxes.json")]) == 3
    assert "photo.png: held (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--seal", "--passcode-env", "P"], "--seal needs an OUTPUT that is a folder"),
        (["--keys", "hmac", "--passcode-env", "P"], "--keys hmac needs an OUTPUT that is a folder"),
        (["--prune"], "--prune needs an OUTPUT that is a folder"),
        (["--format", "webp"], "--format webp writes no .jpg"),
    ],
)
def test_what_one_image_can_not_be_asked_for(more, says, photo, tmp_path, capsys):
    assert cli._status(["deidentify", str(photo), str(tmp_path / "x.jpg"), *more]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "x.jpg").exists()


def test_a_folder_of_one_image_or_a_folder_that_ends_like_one_is_no_single_image(photo, model, tmp_path):
    source, folder = tmp_path / "in.png", tmp_path / "out.png"
    source.mkdir()
    photo.rename(source / "photo.png")
    assert cli._status(["upscale", str(source), str(folder), "--model", model, "--on", "here"]) == 0
    assert (folder / "index").is_dir()
    assert cli._status(["upscale", str(source / "photo.png"), str(folder), "--model", model, "--on", "here"]) == 0


def test_an_image_in_a_bucket_becomes_one_in_a_bucket(photo, model, bucket):
    fs, path = storage.filesystem(bucket)
    fs.put_file(str(photo), f"{path}/photo.png")
    assert cli._status(["upscale", f"{bucket}/photo.png", f"{bucket}/large/photo.webp", "--model", model]) == 0
    assert sorted(fs.find(path)) == [f"{path}/large/photo.webp", f"{path}/photo.png"]
