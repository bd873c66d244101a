"""A worker settles a unit: shards and rows that agree, the same bytes each time, faults told apart. No Ray needed."""

import dataclasses
import hashlib
import json
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.pipeline import bundles, storage
from recast.pipeline.bulk import stages
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.network import BundlePayload
from recast.pipeline.bulk.operation import Operator, Result
from recast.pipeline.bulk.units import pack_unit
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.bulk.worker_settings import WorkerSettings
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output.index import current
from recast.pipeline.sources.inventory import Source, inventory
from tests.pipeline.bulk.bundle_operation import upscaler


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    random = np.random.default_rng(0)
    for n in range(9):
        Image.fromarray(random.integers(0, 255, (10 + n % 3, 12, 3), np.uint8)).save(root / f"{n}.png")
    (root / "bad.jpg").write_bytes(b"no image at all")
    return root


def work(tmp_path: Path, name: str = "out", **changes) -> WorkerSettings:
    """A worker's settings; changes are of the job where it has such a field."""
    facts = {"job": "upscale", "source": Source(urls=("x",)), "output": str(tmp_path / name), "model": "x"}
    facts |= {"shard_bytes": 1 << 30, "max_pixels": 10**6, "max_input_bytes": 10**7, "batch_size": 1}
    named = {field.name for field in dataclasses.fields(BulkJob)}
    job = BulkJob(**facts | {name: value for name, value in changes.items() if name in named})
    run = {"run": "run-1", "model": "sha256:m", "device": "cpu", "threads": 0}
    return WorkerSettings(job=job, **run | {name: value for name, value in changes.items() if name not in named})


def settle(tmp_path: Path, source: Path, **changes) -> dict:
    asked = work(tmp_path, **changes)
    operation = UnitWorker(asked, BundlePayload(bundles.fetch(upscaler(tmp_path / "bundle"))))
    return operation(pack_unit(list(inventory(Source(urls=(str(source),)))))).to_pylist()[0]


def rows(tmp_path: Path, name: str = "out") -> list[dict]:
    fs, path = storage.filesystem(str(tmp_path / name))
    return current(fs, path, ["key", "status", "error", "shard", "member", "offset", "length", "sha256"]).to_pylist()


def test_every_input_of_a_unit_gets_its_row_and_its_bytes(tmp_path, source):
    report = settle(tmp_path, source)
    assert (report["ok"], report["failed"], report["untried"]) == (9, 1, 0)
    assert report["failures"] == [{"kind": "not-an-image", "n": 1}]
    verdict = verify(str(tmp_path / "out"))
    assert (verdict.rows, verdict.ok, verdict.faults) == (10, 9, [])
    for row in rows(tmp_path):
        if row["status"] == "ok":
            data = (tmp_path / "out/shards" / row["shard"]).read_bytes()[row["offset"] :][: row["length"]]
            assert hashlib.sha256(data).hexdigest() == row["sha256"]


def test_what_happens_is_told_in_events_with_run_shard_and_key(tmp_path, source, capsys):
    settle(tmp_path, source)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = {line["event"]: line for line in lines}
    (shard,) = (tmp_path / "out/shards").iterdir()
    about = {"run": "run-1", "output": str(tmp_path / "out"), "shard": shard.name}
    assert (
        told["input failed"].items() >= {**about, "key": "bad.jpg", "kind": "not-an-image", "level": "warning"}.items()
    )
    assert told["shard committed"].items() >= {**about, "rows": 10, "images": 9, "level": "info"}.items()
    assert all("time" in line for line in lines)


def test_a_unit_done_twice_is_the_same_as_once(tmp_path, source):
    settle(tmp_path, source)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out/shards").iterdir()}
    settle(tmp_path, source)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out/shards").iterdir()} == before
    assert len(list((tmp_path / "out/index").iterdir())) == len(before)


def test_batches_and_threads_do_not_change_the_bytes(tmp_path, source):
    settle(tmp_path, source)
    settle(tmp_path, source, name="threads", threads=4)
    plain = {row["key"]: row["sha256"] for row in rows(tmp_path)}
    assert {row["key"]: row["sha256"] for row in rows(tmp_path, "threads")} == plain


def test_two_streams_give_the_bytes_of_one(tmp_path, source, monkeypatch):
    """Beside an accelerator batches go through in two threads; here on the CPU."""
    settle(tmp_path, source, batch_size=2)
    monkeypatch.setattr(stages, "_streams", lambda device: ThreadPoolExecutor(stages.STREAMS))
    settle(tmp_path, source, name="streams", threads=2, batch_size=2)
    plain = {row["key"]: row["sha256"] for row in rows(tmp_path)}
    assert {row["key"]: row["sha256"] for row in rows(tmp_path, "streams")} == plain


@pytest.mark.parametrize("limit", [{"shard_images": 4}, {"shard_bytes": 4000}])
def test_shards_close_by_count_or_size(tmp_path, source, limit):
    settle(tmp_path, source, **limit)
    shards = list((tmp_path / "out/shards").iterdir())
    assert len(shards) >= 2
    for shard in shards:
        with tarfile.open(shard) as tar:
            images = [name for name in tar.getnames() if not name.endswith(".json")]
            assert len(images) <= limit.get("shard_images", 100)
    assert verify(str(tmp_path / "out")).faults == []


def test_an_input_that_storage_does_not_give_is_left_for_the_next_run(tmp_path, source, monkeypatch):
    def read(item, max_bytes):
        if item.key == "3.png":
            raise OSError("the disk is on fire")
        return original(item, max_bytes)

    original = stages.read
    monkeypatch.setattr(stages, "read", read)
    report = settle(tmp_path, source)
    assert (report["ok"], report["failed"], report["untried"]) == (8, 1, 1)
    assert "on fire" in report["untried_because"]
    assert "3.png" not in {row["key"] for row in rows(tmp_path)}


def test_an_output_that_cannot_be_written_is_reported_and_commits_nothing(tmp_path, source, monkeypatch):
    def upload(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "upload", upload)
    report = settle(tmp_path, source)
    assert report["run_fault"].endswith("the storage is full")
    assert not (tmp_path / "out/index").exists()


def test_fragments_carry_the_shards_size_and_the_settings(tmp_path, source):
    settle(tmp_path, source)
    (fragment,) = (tmp_path / "out/index").iterdir()
    metadata = pq.read_schema(fragment).metadata
    (shard,) = (tmp_path / "out/shards").iterdir()
    assert metadata[b"recast.shard"].decode() == shard.name
    assert int(metadata[b"recast.shard_bytes"]) == shard.stat().st_size


class _Deepening(Operator):
    """Results have 16 bits, whatever came in, as a restored original may."""

    def operator(self, settings: WorkerSettings) -> "_Deepening":
        return self

    def __call__(self, pictures, items):
        deep = [picture.with_pixels(picture.pixels.astype(np.uint16) * 257, picture.alpha) for picture in pictures]
        return [Result(picture=picture) for picture in deep]


def test_results_deeper_than_their_format_are_brought_to_it_with_a_note(tmp_path, source):
    asked = work(tmp_path, encoder=Encoder(format="jpeg"))
    report = UnitWorker(asked, _Deepening())(pack_unit(list(inventory(Source(urls=(str(source),)))))).to_pylist()[0]
    assert report["ok"] == 9
    fs, path = storage.filesystem(asked.job.output)
    notes = {
        tuple(r["notes"]) for r in current(fs, path, ["key", "status", "notes"]).to_pylist() if r["status"] == "ok"
    }
    assert notes == {("reduced to 8 bits from 16",)}


def test_what_was_done_to_numbers_and_left_out_of_files_stands_in_the_rows_notes(tmp_path):
    """Elevations in several pages and a raw file in one run: a result with its notes, and a refusal."""
    folder = tmp_path / "in"
    folder.mkdir()
    heights = np.linspace(300, 2300, 80, dtype=np.float32).reshape(8, 10)
    pages = [Image.fromarray(heights)] * 3
    pages[0].save(folder / "heights.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(heights.astype(np.uint8)).save(folder / "raw.dng", "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    settle(tmp_path, folder)
    fs, path = storage.filesystem(str(tmp_path / "out"))
    told = {r["key"]: r for r in current(fs, path, ["key", "status", "error", "notes"]).to_pylist()}
    assert told["heights.tif"]["notes"] == [
        "first of 3 frames",
        "floating point from 300 to 2300, its range from 300 to 2300 made 16 bits",
    ]
    assert told["raw.dng"]["error"].startswith("unsupported: camera raw (DNG)")
