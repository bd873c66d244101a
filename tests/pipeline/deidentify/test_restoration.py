"""Restoring: an image comes back whole or is `failed: seal`; a lost lock is said, and never replaced."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from recast.jobs import cli, exit_status
from recast.pipeline import storage
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.output.index import current
from recast.pipeline.output.sidecars import SEALS, read_sidecars, write_sidecars

PASSCODE = "a passcode that nobody guesses"
BOXES = {
    "coffee.png": [{"box": [10, 10, 60, 60]}, {"box": [30, 30, 90, 90]}, {"box": [200, 100, 260, 160]}],
    "chelsea.png": [{"box": [100, 100, 160, 160]}],
}


@pytest.fixture
def sealed(photos, tmp_path, monkeypatch, worker_here):
    """An output of two images with four sealed regions, and commands that make it anew and restore it."""
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    (tmp_path / "in").mkdir()
    for name in BOXES:
        shutil.copy(photos / name, tmp_path / "in")
    (tmp_path / "boxes.json").write_text(json.dumps(BOXES))
    (tmp_path / "code").write_text(PASSCODE)
    code = ["--passcode-file", str(tmp_path / "code")]
    how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json"), "--shard-images", "1", "--seal", *code]
    command = ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how]
    assert cli._status(command) == 0
    return command, ["restore", str(tmp_path / "out"), str(tmp_path / "back"), *code]


def restored(tmp_path):
    fs, root = storage.filesystem(str(tmp_path / "back"))
    rows = current(fs, root, ["key", "status", "error"]).to_pylist()
    return {row["key"]: (row["status"], row["error"]) for row in rows}


def tables(tmp_path):
    """The seals' tables by the key of the one image that each is of."""
    paths = (tmp_path / "out" / "seals").glob("*.parquet")
    found = {pq.ParquetFile(path).read()["key"][0].as_py(): path for path in paths}
    assert set(found) == set(BOXES)
    return found


def test_a_lost_table_of_seals_fails_its_images(sealed, tmp_path):
    """An image whose table was deleted isn't passed off as restored; the others come back."""
    tables(tmp_path)["coffee.png"].unlink()
    assert cli._status(sealed[1]) == 3
    status, error = restored(tmp_path)["coffee.png"]
    assert (status, error[:6]) == ("failed", "seal: ")
    assert "missing from seals/" in error
    assert restored(tmp_path)["chelsea.png"] == ("ok", None)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_a_row_cut_out_of_a_table_fails_its_image(cut, sealed, tmp_path):
    """Each single one, though what it held lies partly under another."""
    path = tables(tmp_path)["coffee.png"]
    fs, root = storage.filesystem(str(tmp_path / "out"))
    rows = read_sidecars(fs, root, SEALS, path.stem)
    assert len(rows) == 3
    write_sidecars(fs, root, SEALS, path.stem, [row for number, row in enumerate(rows) if number != cut])
    assert cli._status(sealed[1]) == 3
    assert restored(tmp_path)["coffee.png"] == ("failed", "seal: 1 of its 3 sealed originals are missing from seals/")


def test_seals_in_another_order_or_twice_restore_all_the_same(sealed, tmp_path):
    """What a crash or a merge may leave of seals: doubles, other orders, those of an earlier version of the image."""
    path = tables(tmp_path)["coffee.png"]
    fs, root = storage.filesystem(str(tmp_path / "out"))
    rows = read_sidecars(fs, root, SEALS, path.stem)
    stale = {**rows[0], "sealed": rows[0]["sealed"][:-1] + b"?"}
    write_sidecars(fs, root, SEALS, path.stem, [stale, *rows[::-1], rows[1]])
    assert cli._status(sealed[1]) == 0
    assert set(restored(tmp_path).values()) == {("ok", None)}


def test_seals_from_before_they_were_counted_are_held_against_the_index(sealed, tmp_path, monkeypatch):
    """Older outputs restore as ever, and a missing row is noticed where no other seal covers its region."""
    path = tables(tmp_path)["coffee.png"]
    fs, root = storage.filesystem(str(tmp_path / "out"))
    (row,) = [row for row in current(fs, root, ["key", "sha256"]).to_pylist() if row["key"] == "coffee.png"]
    key = seal.opened_lock(str(tmp_path / "out"), seal.Secret(PASSCODE.encode()))
    rows, dumps = read_sidecars(fs, root, SEALS, path.stem), json.dumps

    def uncounted(value):
        return dumps({name: value[name] for name in ("dtype", "shape")} if isinstance(value, dict) else value)

    for entry in rows:
        place = (key, "coffee.png", row["sha256"], tuple(entry["box"]))
        pixels = seal.opened(*place, entry["sealed"]).pixels
        with monkeypatch.context() as patch:
            patch.setattr(seal.json, "dumps", uncounted)
            entry["sealed"] = seal.sealed(*place, pixels)
        assert seal.opened(*place, entry["sealed"]).of == 0
    write_sidecars(fs, root, SEALS, path.stem, rows)
    assert cli._status(sealed[1]) == 0
    shutil.rmtree(tmp_path / "back")
    write_sidecars(fs, root, SEALS, path.stem, rows[:2])
    assert cli._status(sealed[1]) == 3
    assert "originals are missing" in restored(tmp_path)["coffee.png"][1]


def test_a_lost_lock_is_said_and_never_replaced(sealed, tmp_path, capsys):
    """With its seals, or with the index alone telling of them; the backup put back opens everything again."""
    command, restore = sealed
    lock = tmp_path / "out" / "seals" / "lock.json"
    backup = lock.read_bytes()
    lock.unlink()
    for attempt in (command, [*command, "--replace"], [*command, "--dry-run"], restore):
        assert cli._status(attempt) == exit_status.FAILED
        said = capsys.readouterr().err
        assert "seals/lock.json is missing" in said
        assert "backup" in said
        assert not lock.exists()
    kept = shutil.move(tmp_path / "out" / "seals", tmp_path / "kept")
    assert cli._status(command) == exit_status.FAILED
    assert "its index says that originals" in capsys.readouterr().err
    shutil.move(kept, tmp_path / "out" / "seals")
    lock.write_bytes(backup)
    assert cli._status(restore) == 0
    assert set(restored(tmp_path).values()) == {("ok", None)}
