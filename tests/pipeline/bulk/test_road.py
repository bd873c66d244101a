"""The bulk road on a real Ray: every input accounted for, nothing done twice, whatever is changed or killed."""

import dataclasses
import os
import subprocess
import time
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.pipeline import bundles, cluster, storage
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.road import BulkError, MismatchError
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output.index import current
from recast.pipeline.progress import Silent
from recast.pipeline.sources.inventory import Source
from tests.pipeline.bulk.bundle_operation import upscaler


def image(path: Path, seed: int = 0, size: tuple[int, int] = (24, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)).save(path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for n in range(10):
        image(tmp_path / "in" / f"{n}.png", n)
    (tmp_path / "in/empty.jpg").touch()
    (tmp_path / "in/text.png").write_bytes(b"hello")
    return tmp_path / "in"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"))


def job(source: Path | str, output: Path | str, model: str, **changes) -> BulkJob:
    facts = {"job": "upscale", "source": Source(urls=(str(source),)), "output": str(output), "model": model}
    return BulkJob(**(facts | {"actors": 1} | changes))


def view(output: Path | str) -> dict[str, tuple]:
    """The current view without what differs from run to run."""
    fs, path = storage.filesystem(str(output))
    columns = ["key", "status", "error", "fingerprint", "sha256", "width", "height"]
    return {row["key"]: tuple(row.values()) for row in current(fs, path, columns).to_pylist()}


def sound(output: Path | str) -> bool:
    return verify(str(output)).faults == []


@pytest.mark.usefixtures("worker_here")
class TestRuns:
    def test_every_input_is_settled_and_a_second_run_does_nothing(self, source, tmp_path, model, monkeypatch):
        asked = job(source, tmp_path / "out", model, actors=2)
        summary = road.run(asked, Silent())
        assert (summary.inputs, summary.ok, summary.failed) == (12, 10, 2)
        assert summary.failures == {"empty": 1, "not-an-image": 1}
        assert set(view(tmp_path / "out")) == {p.name for p in source.iterdir()}
        assert sound(tmp_path / "out")

        def unwanted(*_):
            raise AssertionError("a run with nothing to do needs no model and no cluster")

        before = sorted((tmp_path / "out/shards").iterdir())
        monkeypatch.setattr(bundles, "fetch", unwanted)
        monkeypatch.setattr(cluster, "connected", unwanted)
        again = road.run(asked, Silent())
        assert (again.ok, again.failed, again.settled_before) == (0, 0, 12)
        assert sorted((tmp_path / "out/shards").iterdir()) == before

    def test_what_is_missing_or_damaged_is_done_again_and_nothing_else(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model, shard_images=4)
        road.run(asked, Silent())
        whole = view(tmp_path / "out")
        shards, fragments = (sorted((tmp_path / "out" / part).iterdir()) for part in ("shards", "index"))
        shards[0].unlink()
        spoilt = next(f for f in fragments if f.stem != shards[0].stem)
        spoilt.write_bytes(spoilt.read_bytes()[:-20])
        assert not sound(tmp_path / "out")
        missing = len(whole) - len(view(tmp_path / "out"))
        summary = road.run(asked, Silent())
        assert summary.ok + summary.failed == missing
        assert view(tmp_path / "out") == whole
        assert sound(tmp_path / "out")

    def test_a_storage_fault_leaves_the_input_for_a_rerun(self, tmp_path, model):
        """A file that vanishes between listing and reading stands for any read that storage refuses."""
        for n in range(5):
            image(tmp_path / "in" / f"{n}.png", n)
        hole = tmp_path / "in/hole.png"
        hole.symlink_to(tmp_path / "elsewhere.png")
        image(tmp_path / "elsewhere.png", 50)
        asked = job(tmp_path / "in", tmp_path / "out", model)

        class Remover(Silent):
            def planned(self, total, done) -> None:
                (tmp_path / "elsewhere.png").unlink(missing_ok=True)

        with pytest.raises(BulkError, match="1 inputs could not be read"):
            road.run(asked, Remover())
        assert "hole.png" not in view(tmp_path / "out")
        assert not (tmp_path / "out/runs").exists()
        image(tmp_path / "elsewhere.png", 50)
        assert road.run(asked, Silent()).ok == 1

    def test_a_tar_on_object_storage_becomes_the_same_output_as_its_folder(self, source, tmp_path, model, bucket):
        road.run(job(source, tmp_path / "out", model), Silent())
        subprocess.run(["tar", "-cf", tmp_path / "in.tar", "-C", source, "."], check=True)
        fs, path = storage.filesystem(f"{bucket}/in.tar")
        fs.put_file(str(tmp_path / "in.tar"), path)
        summary = road.run(job(f"{bucket}/in.tar", f"{bucket}/out", model), Silent())
        assert (summary.ok, summary.failed) == (10, 2)
        assert sound(f"{bucket}/out")
        local, remote = view(tmp_path / "out"), view(f"{bucket}/out")
        assert {k: v[1] for k, v in remote.items()} == {k: v[1] for k, v in local.items()}
        assert {k: v[4] for k, v in remote.items()} == {k: v[4] for k, v in local.items()}
        assert road.run(job(f"{bucket}/in.tar", f"{bucket}/out", model), Silent()).settled_before == 12

    def test_new_and_changed_inputs_alone_are_processed(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model)
        road.run(asked, Silent())
        before = view(tmp_path / "out")
        image(source / "new.png", 77)
        image(source / "3.png", 78)
        summary = road.run(asked, Silent())
        assert (summary.ok, summary.settled_before) == (2, 11)
        after = view(tmp_path / "out")
        assert {k for k in after if after[k] != before.get(k)} == {"new.png", "3.png"}
        assert sound(tmp_path / "out")

    def test_failed_inputs_are_tried_again_only_on_request(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model)
        road.run(asked, Silent())
        assert road.run(asked, Silent()).failed == 0
        assert road.run(job(source, tmp_path / "out", model, retry_failed=True), Silent()).failed == 2

    def test_leavings_of_dead_runs_are_swept(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model)
        (tmp_path / "out/shards").mkdir(parents=True)
        (tmp_path / f"out/shards/{'0' * 20}-1-000.tar").write_bytes(b"left behind")
        part = tmp_path / "out/shards/.x.tar.1234.part"
        part.write_bytes(b"half")
        os.utime(part, (time.time() - 100, time.time() - 100))
        assert road.run(asked, Silent()).swept == 2
        assert sound(tmp_path / "out")

    def test_another_bundle_or_other_settings_are_refused_by_name_and_replaced_on_request(
        self, source, tmp_path, model
    ):
        road.run(job(source, tmp_path / "out", model), Silent())
        other = upscaler(tmp_path / "other", seed=1)
        with pytest.raises(MismatchError, match="'tiny x2 seed 0'.*'tiny x2 seed 1'"):
            road.run(job(source, tmp_path / "out", other), Silent())
        jpeg = job(source, tmp_path / "out", model, encoder=Encoder(format="jpeg"))
        with pytest.raises(MismatchError, match=r"format png \(now jpeg\)"):
            road.run(jpeg, Silent())
        replaced = job(source, tmp_path / "out", other, replace=True)
        assert road.run(replaced, Silent()).ok == 10
        assert road.run(job(source, tmp_path / "out", other), Silent()).settled_before == 12
        assert sound(tmp_path / "out")
        assert verify(str(tmp_path / "out")).rows == 12

    @pytest.mark.parametrize(
        ("reach", "kept"),
        [
            ({"limit": 4}, 6),
            ({"limit": 0}, 10),
            ({"include": ("[0-3].png",)}, 6),
            ({"exclude": ("[4-9].png",)}, 6),
            ({"source": "nothing"}, 10),
        ],
    )
    def test_a_run_that_replaces_removes_no_result_that_it_did_not_come_to(self, source, tmp_path, model, reach, kept):
        """Beyond its limit, left out by its filters, or out of sight: those are counted, and the next run goes on."""
        road.run(job(source, tmp_path / "out", model, shard_images=1), Silent())
        before = view(tmp_path / "out")
        told: list[str] = []
        progress = Silent()
        progress.says = told.append
        seen = {"urls": (str(source),), "include": reach.get("include", ()), "exclude": reach.get("exclude", ())}
        if place := reach.get("source"):
            (tmp_path / place).mkdir()
            seen["urls"] = (str(tmp_path / place),)
        other = job("", tmp_path / "out", upscaler(tmp_path / "other", seed=1), replace=True, shard_images=1)
        road.run(dataclasses.replace(other, source=Source(**seen), limit=reach.get("limit")), progress)
        after = view(tmp_path / "out")
        ok = {key for key, row in before.items() if row[1] == "ok"}
        assert len({key for key in ok if after.get(key) == before[key]}) == kept
        assert ok <= after.keys()
        assert any(sentence.startswith(f"kept {kept} results of another bundle") for sentence in told)
        assert sound(tmp_path / "out")
        road.run(dataclasses.replace(other, source=Source(urls=(str(source),))), Silent())
        done = view(tmp_path / "out")
        assert not any(done[key] == before[key] for key in ok)
        assert road.run(dataclasses.replace(other, source=Source(urls=(str(source),)), replace=False), Silent()).ok == 0

    def test_a_run_that_replaces_keeps_the_results_of_an_archive_that_is_cut_short(self, source, tmp_path, model):
        """What the archive held is not gone from the source as long as nobody can tell; what else is gone, is gone."""
        with zipfile.ZipFile(source / "all.zip", "w") as archive:
            for name in ("1.png", "2.png"):
                archive.write(source / name, name)
        asked = job(source, tmp_path / "out", model)
        road.run(asked, Silent())
        before = view(tmp_path / "out")
        (source / "all.zip").write_bytes((source / "all.zip").read_bytes()[:-30])
        (source / "3.png").unlink()
        other = dataclasses.replace(asked, model=upscaler(tmp_path / "other", seed=1), replace=True)
        road.run(other, Silent())
        after = view(tmp_path / "out")
        assert {key for key in before if after.get(key) == before[key] and before[key][1] == "ok"} == {
            "all.zip/1.png", "all.zip/2.png",
        }  # fmt: skip
        assert sound(tmp_path / "out")

    def test_a_limited_run_leaves_damaged_shards_to_a_run_that_does_them_again(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model, shard_images=1)
        road.run(asked, Silent())
        spoilt = sorted((tmp_path / "out/shards").iterdir())[0]
        spoilt.write_bytes(spoilt.read_bytes()[:-1])
        road.run(dataclasses.replace(asked, limit=0), Silent())
        assert spoilt.exists()
        road.run(asked, Silent())
        assert not spoilt.exists()
        assert sound(tmp_path / "out")

    def test_files_of_others_in_an_outputs_folders_stay(self, source, tmp_path, model):
        """A folder may have had shards of its own before it was taken for an output."""
        theirs = [
            tmp_path / "out" / name for name in ("shards/00000.tar", "index/notes.parquet", "seals/a-1-000.parquet")
        ]
        for path in theirs:
            path.parent.mkdir(parents=True)
            path.write_bytes(b"mine")
        for _ in range(2):
            road.run(job(source, tmp_path / "out", model), Silent())
        assert [path.read_bytes() for path in theirs] == [b"mine"] * 3
        assert any("runs leave it there" in fault for fault in verify(str(tmp_path / "out")).faults)

    def test_a_flipped_bit_is_found_by_verify_and_its_shard_done_again(self, source, tmp_path, model):
        asked = job(source, tmp_path / "out", model, shard_images=4)
        road.run(asked, Silent())
        whole = view(tmp_path / "out")
        spoilt = sorted((tmp_path / "out/shards").iterdir())[0]
        data = bytearray(spoilt.read_bytes())
        data[700] ^= 1
        spoilt.write_bytes(bytes(data))
        verdict = verify(str(tmp_path / "out"))
        assert verdict.marked == 1
        assert "don't match their sha256" in verdict.faults[0]
        summary = road.run(asked, Silent())
        assert 1 <= summary.ok + summary.failed <= 4
        assert view(tmp_path / "out") == whole
        assert sound(tmp_path / "out")
        assert road.run(asked, Silent()).settled_before == 12

    @pytest.mark.parametrize("container", ["tar", "parquet"])
    def test_prune_removes_what_came_of_vanished_inputs_and_nothing_else(self, source, tmp_path, model, container):
        road.run(job(source, tmp_path / "out", model, shards=container), Silent())
        before = view(tmp_path / "out")
        for name in ("3.png", "empty.jpg", "text.png"):
            (source / name).unlink()
        image(source / "new.png", 77)
        assert road.run(job(source, tmp_path / "out", model, shards=container), Silent()).pruned == 0
        pruning = job(source, tmp_path / "out", model, prune=True, shards=container)
        assert road.dry_run(pruning).pruned == 3
        assert road.run(pruning, Silent()).pruned == 3
        after = view(tmp_path / "out")
        assert after.keys() == {*before.keys(), "new.png"} - {"3.png", "empty.jpg", "text.png"}
        assert {key: after[key] for key in after if key in before} == {k: before[k] for k in after if k in before}
        left = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
        assert b"text.png" not in left
        assert sound(tmp_path / "out")

    def test_prune_keeps_what_filters_leave_out_and_refuses_an_empty_source(self, source, tmp_path, model):
        road.run(job(source, tmp_path / "out", model), Silent())
        all_of_it = job(source, tmp_path / "out", model, prune=True)
        few = dataclasses.replace(all_of_it, source=Source(urls=(str(source),), include=("1.png", "2.png")))
        assert road.run(few, Silent()).pruned == 0
        (tmp_path / "none").mkdir()
        with pytest.raises(BulkError, match="holds no inputs at all"):
            road.run(job(tmp_path / "none", tmp_path / "out", model, prune=True), Silent())
        assert len(view(tmp_path / "out")) == 12

    def test_every_kind_of_source_gives_the_same_images(self, source, tmp_path, model):
        """A folder; a compressed tar, Parquet with images and a table of URIs; and a previous output of them."""
        names = [p.name for p in sorted(source.iterdir()) if p.suffix == ".png"]
        packed, stored, listed = names[::3], names[1::3], names[2::3]
        subprocess.run(["tar", "-czf", tmp_path / "in.tar.gz", "-C", source, *packed], check=True)
        images = [{"bytes": (source / name).read_bytes(), "path": name} for name in stored]
        pq.write_table(pa.table({"image": images}), tmp_path / "in.parquet")
        (tmp_path / "in.csv").write_text("key,uri\n" + "".join(f"{name},{source}/{name}\n" for name in listed))
        road.run(job(source, tmp_path / "folder", model, shards="parquet"), Silent())
        expected = {key: row[4] for key, row in view(tmp_path / "folder").items() if key in names}
        kinds = Source(urls=tuple(str(tmp_path / kind) for kind in ("in.tar.gz", "in.parquet", "in.csv")))
        summary = road.run(dataclasses.replace(job("", tmp_path / "out", model), source=kinds), Silent())
        assert (summary.ok, summary.failed) == (10, 1)
        assert {key: row[4] for key, row in view(tmp_path / "out").items()} == expected
        again = road.run(job(tmp_path / "folder", tmp_path / "again", model), Silent())
        assert (again.ok, again.failed) == (10, 0)
        assert {row[5] for row in view(tmp_path / "again").values()} == {64}

    def test_an_empty_source_is_done_at_once(self, tmp_path, model):
        (tmp_path / "in").mkdir()
        assert road.run(job(tmp_path / "in", tmp_path / "out", model), Silent()).inputs == 0


def test_a_plan_the_cluster_cannot_hold_is_refused(source, tmp_path, model, ray_local):
    with pytest.raises(cluster.ClusterError, match="no GPU"):
        road.run(job(source, tmp_path / "out", model, device="cuda"), Silent())
    with pytest.raises(cluster.ClusterError, match="fewer workers"):
        cluster.demand(1000, 1, 0, "1000 actors")
