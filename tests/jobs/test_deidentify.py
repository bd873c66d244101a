"""`recast deidentify` from end to end: faces replaced, doubt held, every input accounted for."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.jobs import cli, exit_status
from recast.pipeline import storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output.index import current
from recast.pipeline.output.sidecars import SEALS, write_sidecars
from recast.pipeline.regions.centerface import CenterFace


def view(output):
    fs, path = storage.filesystem(str(output))
    rows = current(fs, path, ["key", "status", "error", "shard", "offset", "length", "regions"]).to_pylist()
    return {row["key"]: row for row in rows}


def image_of(output, row):
    data = (output / "shards" / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), data


def said_by_samples(output):
    """What the `.json` beside each image speaks of."""
    said = set()
    for path in (output / "shards").iterdir():
        with tarfile.open(path) as tar:
            for name in tar.getnames():
                said |= json.load(tar.extractfile(name)).keys() if name.endswith(".json") else set()
    return said


def test_faces_are_replaced_and_what_is_in_doubt_is_held(photos, tmp_path, worker_here, capsys):
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
    command += ["--smallest-face", "14"]
    assert cli._status([*command, "--actors", "1"]) == 0
    rows = view(output)
    assert {key: row["status"] for key, row in rows.items()} == {
        "astronaut.png": "ok", "broken.jpg": "held", "camera.jpg": "ok", "coffee.png": "ok", "moon.png": "held",
    }  # fmt: skip
    assert rows["broken.jpg"]["error"].startswith(("truncated: ", "corrupt: "))
    assert rows["moon.png"]["error"].startswith("doubtful: centerface gives a face 0.1")
    assert [(r["kind"], r["action"]) for r in rows["coffee.png"]["regions"]] == [("cup", "blur")]
    for key in ("astronaut.png", "camera.jpg"):
        pixels, data = image_of(output, rows[key])
        assert rows[key]["regions"][0]["kind"] == "face"
        assert max((r.score for r in CenterFace(threads=1, smallest_px=14)([pixels])[0]), default=0) < 0.15
        assert b"a name in the description" not in data
    assert verify(str(output)).faults == []
    (manifest,) = [json.loads(path.read_text()) for path in (output / "runs").glob("*.json")]
    assert (manifest["counts"]["ok"], manifest["counts"]["held"], manifest["counts"]["failed"]) == (3, 2, 0)
    assert "centerface" in manifest["model"]["name"]
    assert said_by_samples(output) == {"key", "regions"}
    assert cli._status(command) == 0
    assert "nothing to do, 5 inputs done before" in capsys.readouterr().out
    assert cli._status(["index", "compact", str(output)]) == 0
    assert said_by_samples(output) == {"key", "regions"}
    assert cli._status([*command, "--margin", "0.5"]) == exit_status.BAD_USAGE
    assert "margin 0.3 (now 0.5)" in capsys.readouterr().err


PASSCODE = "a passcode that nobody guesses"


def everything_below(*folders):
    return b"".join(path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file())


def test_sealed_originals_come_back_bit_for_bit_to_who_has_the_passcode(photos, tmp_path, worker_here, capsys):
    """Seal, merge shards, change the passcode, restore; then a wrong passcode, a changed seal, and a search."""
    source, output, back = tmp_path / "in", tmp_path / "out", tmp_path / "back"
    source.mkdir()
    for name in ("astronaut.png", "camera.png", "coffee.png"):
        shutil.copy(photos / name, source)
    deep = np.random.default_rng(0).integers(0, 65536, (90, 120), np.uint16)
    Image.fromarray(deep).save(source / "deep.png")
    (tmp_path / "boxes.json").write_text(json.dumps({"deep.png": [{"box": [10, 10, 60, 60]}]}))
    for name, text in (("old", PASSCODE), ("new", "another good passcode"), ("wrong", "not that one")):
        (tmp_path / name).write_text(text + "\n")
    how = [
        "--method",
        "pixelate",
        "--boxes",
        str(tmp_path / "boxes.json"),
        "--shards",
        "parquet",
        "--shard-images",
        "2",
    ]
    command = ["deidentify", str(source), str(output), *how, "--seal", "--passcode-file", str(tmp_path / "old")]
    assert cli._status([*command, "--actors", "1"]) == 0
    assert (output / "seals" / "lock.json").exists()
    assert cli._status(["index", "compact", str(output)]) == 0
    assert len(list((output / "seals").glob("*.parquet"))) == 1
    keys = ["--passcode-file", str(tmp_path / "old"), "--new-passcode-file", str(tmp_path / "new")]
    assert cli._status(["rekey", str(output), *keys]) == 0
    restore = ["restore", str(output), str(back), "--actors", "1", "--passcode-file"]
    for refused in ("old", "wrong"):
        assert cli._status([*restore, str(tmp_path / refused)]) == exit_status.FAILED
        assert "the passcode doesn't fit" in capsys.readouterr().err
    assert not back.exists()
    assert cli._status([*restore, str(tmp_path / "new")]) == 0
    rows = view(back)
    assert {row["status"] for row in rows.values()} == {"ok"}
    for name, row in rows.items():
        data = (back / "shards" / row["shard"]).read_bytes()[row["offset"] : row["offset"] + row["length"]]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(Image.open(source / name)))
    left = everything_below(output, back)
    assert PASSCODE.encode() not in left
    assert b"another good passcode" not in left

    (seals,) = (output / "seals").glob("*.parquet")
    table = pq.ParquetFile(seals, pre_buffer=False).read(use_threads=False).to_pylist()
    table[0]["sealed"] = table[0]["sealed"][:-1] + bytes([table[0]["sealed"][-1] ^ 1])
    write_sidecars(*storage.filesystem(str(output)), SEALS, seals.stem, table)
    other = ["restore", str(output), str(tmp_path / "other"), "--passcode-file", str(tmp_path / "new")]
    assert cli._status(other) == 3
    errors = [row["error"] for row in view(tmp_path / "other").values() if row["error"]]
    assert errors == ["seal: its seal was changed, or belongs to another image"]


def test_a_way_back_needs_a_passcode_that_is_no_argument(tmp_path, capsys, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "short").write_text("short\n")
    command = ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), "--seal"]
    for options, says in (
        ([], "there must be a passcode"), (["--passcode-env", "NO_SUCH"], "no variable NO_SUCH"),
        (["--passcode-file", str(tmp_path / "short")], "has 5 bytes"), (["--passcode-file", "/no/such"], "/no/such"),
        (["--passcode", "secret"], "--passcode"),
    ):  # fmt: skip
        monkeypatch.setattr("sys.stdin", io.StringIO())
        assert cli._status([*command, *options]) != 0
        assert says in capsys.readouterr().err
    (tmp_path / "long").write_text("long enough for one")
    restore = ["restore", str(tmp_path / "in"), str(tmp_path / "back"), "--passcode-file", str(tmp_path / "long")]
    assert cli._status(restore) == exit_status.FAILED
    assert "nothing is sealed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metadata", "keep"], "--metadata"),
        (["--detector", "none"], "--boxes"),
        (["--boxes", "/no/such.csv"], "the boxes /no/such.csv can't be read"),
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


def test_keys_of_a_table_that_match_nothing_are_said_and_counted(photos, tmp_path, worker_here, capsys):
    """Boxes alone: exit 3, images without an entry held; beside a detector a sentence. The manifest has the counts."""
    source, table = tmp_path / "in", tmp_path / "boxes.json"
    source.mkdir()
    for name in ("Mu\u0308ller.png", "unnamed.png"):
        shutil.copy(photos / "coffee.png", source / name)
    table.write_text(json.dumps({"M\u00fcller.png": [[10, 10, 60, 60]], "photos/gone.png": [[1, 1, 9, 9]]}))
    how = ["--boxes", str(table), "--detector"]
    assert cli._status(["deidentify", str(source), str(tmp_path / "alone"), *how, "none"]) == 3
    assert "1 of 2 keys of" in (error := capsys.readouterr().err)
    assert "'photos/gone.png'" in error
    rows = view(tmp_path / "alone")
    assert rows["Mu\u0308ller.png"]["regions"][0]["box"] == [10, 10, 60, 60]
    assert rows["unnamed.png"]["error"].startswith("no-entry: ")
    (manifest,) = [json.loads(path.read_text()) for path in (tmp_path / "alone" / "runs").glob("*.json")]
    assert manifest["boxes"] == {"keys": 2, "unmatched": 1}
    assert cli._status(["deidentify", str(source), str(tmp_path / "both"), *how, "centerface"]) == 0
    assert "1 of 2 keys of" in capsys.readouterr().err
    table.write_text(json.dumps({"M\u00fcller.png": [[0.1, 0.1, 0.6, 0.6]]}))
    assert cli._status(["deidentify", str(source), str(tmp_path / "none"), *how, "none"]) == exit_status.BAD_USAGE
    assert "fractions of the image" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
