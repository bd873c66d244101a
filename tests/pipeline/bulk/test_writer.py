"""The commit of a unit: late writers commit nothing, shards come out alike, and what attempts leave is taken back."""

import dataclasses
import datetime
import errno
import json
import os
import tarfile
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.jobs import index as commands
from recast.pipeline import bundles, storage
from recast.pipeline.bulk import road, writer
from recast.pipeline.bulk.attempts import Attempts
from recast.pipeline.bulk.network import BundlePayload
from recast.pipeline.bulk.road import BulkError
from recast.pipeline.bulk.units import pack_unit, unit_id
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output import housekeeping, index, shards
from recast.pipeline.output.lease import Lease, LeaseError
from recast.pipeline.progress import Silent
from recast.pipeline.sources.inventory import Source, inventory
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image, job, sound, view
from tests.pipeline.bulk.test_worker import rows, work


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def source(tmp_path):
    """Shapes mixed, so that batches change the order in which images come out; one image is bad."""
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for n in range(12):
        Image.fromarray(random.integers(0, 255, (10 + n % 3, 12, 3), np.uint8)).save(tmp_path / "in" / f"{n:02}.png")
    (tmp_path / "in/05.png").write_bytes(b"no image at all")
    return tmp_path / "in"


def settle(tmp_path, source, model, ledger=None, **changes):
    operation = UnitWorker(work(tmp_path, **changes), BundlePayload(bundles.fetch(model)), attempts=ledger)
    return operation(pack_unit(list(inventory(Source(urls=(str(source),)))))).to_pylist()[0]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_shard_has_one_layout_whatever_was_batched_and_after_whatever_attempt(tmp_path, source, model):
    """Fast, in batches, by threads, and image by image after a death; whole and in parts."""
    for limits in ({}, {"shard_bytes": 3000}):
        made = []
        for n, changes in enumerate(({}, {"batch_size": 4}, {"batch_size": 3, "threads": 2}, {"careful": True})):
            ledger = Attempts()
            if changes.pop("careful", False):
                ledger.begin(settled_unit(source))
            name = f"out{len(limits)}{n}"
            assert settle(tmp_path, source, model, ledger, name=name, **changes, **limits)["ok"] == 11
            made.append(files(tmp_path / name / "shards"))
        assert made[1:] == made[:1] * 3
        assert len(made[0]) == (1 if not limits else len(made[0]))


def settled_unit(source):
    facts = work(source.parent)
    return unit_id(inventory(Source(urls=(str(source),))), facts.model, facts.spec, facts.job.shards)


def test_an_attempt_takes_back_what_the_one_before_it_committed(tmp_path, source, model):
    """It may cut the unit into other parts: no row is there twice, and no shard without a fragment."""
    settle(tmp_path, source, model, shard_bytes=3000)
    many = files(tmp_path / "out/shards")
    ledger = Attempts()
    ledger.begin(settled_unit(source))
    settle(tmp_path, source, model, ledger)
    assert len(files(tmp_path / "out/shards")) == len(files(tmp_path / "out/index")) == 1 < len(many)
    assert verify(str(tmp_path / "out")).faults == []


def test_a_worker_whose_run_has_lost_the_lease_commits_nothing(tmp_path, source, model):
    fs, output = storage.filesystem(str(tmp_path / "out"))
    with Lease(fs, output, "first") as first:
        lost = first.claim
    with Lease(fs, output, "second"):
        report = settle(tmp_path, source, model, claim=lost)
        assert "was taken over by run second" in report["run_fault"]
        assert index.listed(fs, output) == {}
    report = settle(tmp_path, source, model, claim=lost)
    assert report["run_fault"]


def test_a_worker_that_was_given_up_and_lives_leaves_its_unit_to_the_next(tmp_path, source, model):
    """Whether the other is at work or done."""

    class Overtaken(Attempts):
        def may_commit(self, unit, number):
            self.begin(unit)
            return super().may_commit(unit, number)

    report = settle(tmp_path, source, model, Overtaken())
    assert "another worker" in report["run_fault"]
    assert not (tmp_path / "out/index").exists()
    ledger = Attempts()
    ledger.begin("u")
    ledger.begin("u")
    ledger.finish("u")
    assert not ledger.may_commit("u", 1)


def test_a_full_scratch_folder_is_named_and_not_the_output(tmp_path, source, model, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setenv("TMPDIR", "/scratch/here")
    monkeypatch.setattr(shards.tempfile, "NamedTemporaryFile", full)
    said = settle(tmp_path, source, model)["run_fault"]
    assert "scratch folder /scratch/here: the storage is full" in said
    assert str(tmp_path) not in said


@pytest.mark.usefixtures("worker_here")
class TestRuns:
    def test_rows_carry_the_epoch_of_their_run(self, source, tmp_path, model):
        road.run(job(source, tmp_path / "out", model), Silent())
        image(source / "new.png", 7)
        road.run(job(source, tmp_path / "out", model), Silent())
        fs, path = storage.filesystem(str(tmp_path / "out"))
        found = index.current(fs, path, ["key", "epoch"]).to_pylist()
        assert {row["epoch"] for row in found if row["key"] == "new.png"} == {2}
        assert {row["epoch"] for row in found if row["key"] != "new.png"} == {1}
        assert {index.epoch_of(name) for name in index.listed(fs, path)} == {1, 2}

    def test_a_changed_input_is_current_after_its_run_whatever_the_clocks_say(
        self, source, tmp_path, model, monkeypatch
    ):
        """The worker's clock is five minutes behind; nothing is redone by the next run."""
        asked = job(source, tmp_path / "out", model)
        road.run(asked, Silent())
        before = view(tmp_path / "out")["01.png"]
        image(source / "01.png", 99)

        class Behind(datetime.datetime):
            @classmethod
            def now(cls, tz=None):
                return datetime.datetime.now(tz) - datetime.timedelta(minutes=5)

        with monkeypatch.context() as patch:
            patch.setattr(writer, "datetime", SimpleNamespace(datetime=Behind, UTC=datetime.UTC))
            assert road.run(asked, Silent()).ok == 1
        assert view(tmp_path / "out")["01.png"] != before
        assert road.run(asked, Silent()).ok == 0

    def test_what_an_overtaken_run_commits_late_does_not_count_and_is_swept(self, source, tmp_path, model):
        """Its lease was taken, it replaces with old settings, and its worker looks at the lease too early to know."""
        asked = job(source, tmp_path / "out", model)
        fs, output = storage.filesystem(str(tmp_path / "out"))
        with Lease(fs, output, "late") as late:
            claim = late.claim
        jpeg = dataclasses.replace(asked, encoder=Encoder(format="jpeg"))

        class Straggler(Silent):
            def planned(self, total, done):
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(writer, "confirm", lambda *_: None)
                    settle(tmp_path, source, model, claim=claim)

        road.run(jpeg, Straggler())
        names = index.listed(fs, output)
        assert {index.epoch_of(name) for name in names} == {2}
        assert {row["shard"].rpartition(".")[0] for row in rows(tmp_path) if row["shard"]} <= {
            name.rpartition(".")[0] for name in names
        }
        assert sound(tmp_path / "out")
        assert len(list((tmp_path / "out/shards").iterdir())) == len(names)
        assert road.run(jpeg, Silent()).ok == 0

    def test_a_run_that_loses_its_lease_on_the_way_stops_and_says_so(self, source, tmp_path, model):
        class Thief(Silent):
            def planned(self, total, done):
                lease = json.loads((tmp_path / "out/lease.json").read_text())
                stolen = json.dumps(lease | {"token": "x", "run": "thief", "epoch": 9})
                (tmp_path / "out/lease.json").write_text(stolen)

        with pytest.raises((BulkError, LeaseError), match="taken over by run thief"):
            road.run(job(source, tmp_path / "out", model), Thief())
        assert not (tmp_path / "out/index").exists()
        assert not (tmp_path / "out/runs").exists()

    def test_a_shard_beside_a_fragment_of_failures_alone_is_an_orphan(self, source, tmp_path, model):
        """Published bytes that no row tells of: found by a check, and swept by the next run."""
        asked = job(source, tmp_path / "out", model)
        only_bad = dataclasses.replace(asked, source=Source(urls=(str(source),), include=("05.png",)))
        road.run(only_bad, Silent())
        (fragment,) = (tmp_path / "out/index").iterdir()
        (tmp_path / "out/shards").mkdir()
        (tmp_path / f"out/shards/{fragment.stem}.tar").write_bytes(b"left behind")
        assert any("no fragment points to it" in fault for fault in verify(str(tmp_path / "out")).faults)
        assert road.run(only_bad, Silent()).swept == 1
        assert sound(tmp_path / "out")

    def test_only_after_a_takeover_a_shard_without_a_fragment_is_given_time(self, source, tmp_path, model, monkeypatch):
        naps = []
        monkeypatch.setattr(housekeeping.time, "sleep", naps.append)
        asked = job(source, tmp_path / "out", model)
        for dead in (False, True):
            if dead:
                lease = json.loads((tmp_path / "out/lease.json").read_text())
                gone = lease | {"released": False, "pid": 2**22 - 1}
                (tmp_path / "out/lease.json").write_text(json.dumps(gone))
            (tmp_path / "out/shards").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"out/shards/{'a' * 20}-1-000.tar").write_bytes(b"left behind")
            assert road.run(asked, Silent()).swept == 1
            assert bool([nap for nap in naps if nap > 0]) == dead

    @pytest.mark.parametrize("damage", ["half", "empty", "no archive"])
    def test_prune_spares_what_a_damaged_archive_may_still_hold_and_says_so(self, source, tmp_path, model, damage):
        (tmp_path / "in2").mkdir()
        with tarfile.open(tmp_path / "in2/all.tar", "w") as tar:
            for path in sorted(source.iterdir()):
                tar.add(path, path.name)
        image(tmp_path / "in2/alone.png", 1)
        image(tmp_path / "in2/gone.png", 2)
        asked = job(tmp_path / "in2", tmp_path / "out", model, prune=True)
        road.run(asked, Silent())
        whole = view(tmp_path / "out")
        assert len(whole) == 14
        data = (tmp_path / "in2/all.tar").read_bytes()
        changed = {"half": data[: len(data) // 2], "empty": b"", "no archive": b"x" * len(data)}[damage]
        (tmp_path / "in2/all.tar").write_bytes(changed)
        (tmp_path / "in2/gone.png").unlink()
        said = []

        class Listening(Silent):
            def says(self, sentence):
                said.append(sentence)

        assert road.run(asked, Listening()).pruned == 1
        assert whole.keys() - view(tmp_path / "out").keys() == {"gone.png"}
        assert any("not pruned" in sentence and "all.tar" in sentence for sentence in said)

    def test_an_output_of_before_there_were_epochs_is_gone_on_with(self, source, tmp_path, model):
        """Read, continued, compacted and checked; its fragments have neither epochs nor checksums."""
        asked = job(source, tmp_path / "out", model, shard_images=4)
        road.run(asked, Silent())
        before = view(tmp_path / "out")
        for path in list((tmp_path / "out/index").iterdir()):
            rename_as_before(path)
        (tmp_path / "out/lease.json").unlink()
        assert sound(tmp_path / "out")
        assert view(tmp_path / "out") == before
        image(source / "01.png", 99)
        summary = road.run(asked, Silent())
        assert (summary.ok, summary.settled_before) == (1, 11)
        after = view(tmp_path / "out")
        assert {key for key in after if after[key] != before[key]} == {"01.png"}
        assert commands.compact(str(tmp_path / "out"), shard_images=100, shard_bytes=1 << 30) == 0
        assert view(tmp_path / "out") == after
        assert sound(tmp_path / "out")
        fs, path = storage.filesystem(str(tmp_path / "out"))
        epochs = {row["key"]: row["epoch"] for row in index.current(fs, path, ["key", "epoch"]).to_pylist()}
        assert epochs.pop("01.png") == 1
        assert set(epochs.values()) == {0}


def rename_as_before(fragment):
    """A fragment, and its shard, as version 1 of the format had them."""
    table = pq.read_table(fragment).drop_columns(["epoch"])
    stem = f"{fragment.stem.split('-')[0]}-{fragment.stem.split('-')[-1]}"
    about = dict(table.schema.metadata)
    for name in (b"recast.shard_sha256", b"recast.checksum"):
        about.pop(name, None)
    if b"recast.shard" in about:
        about[b"recast.shard"] = f"{stem}.tar".encode()
        shard = fragment.parent.parent / "shards" / f"{fragment.stem}.tar"
        shard.rename(shard.with_name(f"{stem}.tar"))
        named = table["shard"].to_pylist()
        place = table.column_names.index("shard")
        table = table.set_column(place, "shard", pa.array([name and f"{stem}.tar" for name in named]))
    pq.write_table(table.replace_schema_metadata(about), fragment.with_name(f"{stem}.parquet"), compression="zstd")
    fragment.unlink()
