"""`recast deidentify` from end to end: faces replaced, doubt held, every input accounted for."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from jobs import cli
from pipeline import storage
from pipeline.deidentify.centerface import CenterFace
from pipeline.output.index import current
from pipeline.output.verify import verify


def view(output):
    fs, path = storage.filesystem(str(output))
    rows = current(fs, path, ["key", "status", "error", "shard", "offset", "length", "regions"]).to_pylist()
    return {row["key"]: row for row in rows}


def image_of(output, row):
    data = (output / "shards" / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), data


def test_faces_are_replaced_and_what_is_in_doubt_is_held(photos, tmp_path, ray_local, capsys):
    """Photographs, a broken file, one with metadata, and boxes of the user's own; a second run does nothing."""
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("astronaut.png", "coffee.png", "moon.png"):
        shutil.copy(photos / name, source)
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    exif = Image.Exif()
    exif[0x010E] = "a name in the description"
    Image.open(photos / "camera.png").convert("RGB").save(source / "camera.jpg", exif=exif, quality=95)
    (tmp_path / "boxes.json").write_text(json.dumps({"coffee.png": [{"box": [10, 10, 60, 60], "kind": "cup"}]}))
    command = ["deidentify", str(source), str(output), "--method", "blur", "--boxes", str(tmp_path / "boxes.json")]
    assert cli._status([*command, "--actors", "1"]) == 0
    rows = view(output)
    assert {key: row["status"] for key, row in rows.items()} == {
        "astronaut.png": "ok", "broken.jpg": "held", "camera.jpg": "ok", "coffee.png": "ok", "moon.png": "held",
    }  # fmt: skip
    assert rows["broken.jpg"]["error"].startswith(("truncated: ", "not-an-image: "))
    assert rows["moon.png"]["error"].startswith("doubtful: centerface gives a face 0.1")
    assert [(r["kind"], r["action"]) for r in rows["coffee.png"]["regions"]] == [("cup", "blur")]
    for key in ("astronaut.png", "camera.jpg"):
        pixels, data = image_of(output, rows[key])
        assert rows[key]["regions"][0]["kind"] == "face"
        assert max((r.score for r in CenterFace(threads=1)([pixels])[0]), default=0) < 0.15
        assert b"a name in the description" not in data
    assert verify(str(output)).faults == []
    (manifest,) = [json.loads(path.read_text()) for path in (output / "runs").glob("*.json")]
    assert (manifest["counts"]["ok"], manifest["counts"]["held"], manifest["counts"]["failed"]) == (3, 2, 0)
    assert "centerface" in manifest["model"]["name"]
    assert cli._status(command) == 0
    assert "nothing to do, 5 inputs are settled" in capsys.readouterr().out
    assert cli._status([*command, "--margin", "0.5"]) == cli.BAD_USAGE
    assert "margin 0.3 (now 0.5)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metadata", "keep"], "--metadata"),
        (["--detector", "none"], "--boxes"),
        (["--boxes", "/no/such.csv"], "/no/such.csv"),
        (["--strength", "0.5"], "--strength"),
        (["--scales", "99"], "scales"),
    ],
)
def test_mistakes_are_one_sentence(arguments, says, tmp_path, capsys):
    with tarfile.open(tmp_path / "in.tar", "w"):
        pass
    assert cli._status(["deidentify", str(tmp_path / "in.tar"), str(tmp_path / "out"), *arguments]) != 0
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error
