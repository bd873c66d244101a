"""Compaction, pruning and redoing what is damaged: nothing current is lost, and what has to go is gone."""

import datetime
import hashlib
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.bulk import completed
from recast.pipeline.output import compaction, fragment_states, index
from recast.pipeline.output.index import image_bytes
from recast.pipeline.output.lease import Lease, LeaseError
from recast.pipeline.output.rows import Row, table
from recast.pipeline.output.shards import shard, shard_facts
from recast.pipeline.output.sidecars import KINDS, LATENTS, SEALS, read_sidecars, write_sidecars
from recast.pipeline.sources.inputs import Input

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
CLOCK = itertools.count()


class Made:
    """An output put together shard by shard."""

    def __init__(self, folder, container="tar"):
        self.fs, self.root = storage.filesystem(str(folder))
        self.folder, self.container = folder, container

    def add(self, images, model="m", epoch=0, late_s=0, sealed=b""):
        """Commit a shard of images by key; None for a failed row. With `sealed`, each with a seal that says that."""
        name = f"shard{next(CLOCK):04}.{self.container}"
        rows, about = [], {"recast.bundle": "b"}
        with shard(self.container) as filling:
            for key, image in images.items():
                when = EPOCH + datetime.timedelta(seconds=next(CLOCK) + late_s)
                row = Row(key=key, source="s", fingerprint="f", status="failed", error="corrupt: x", model=model,
                          spec="s", run=f"run-{name}", finished_at=when, epoch=epoch)  # fmt: skip
                if image is not None:
                    row.status, row.error, row.shard, row.format = "ok", None, name, "png"
                    filling.add(row, image, "png")
                rows.append(row)
            if filling.images:
                size = filling.commit(self.fs, storage.join(self.root, "shards", name))
                about |= shard_facts(name, size, filling.sha256)
        if sealed:
            seals = [{"key": key, "box": [0, 0, 1, 1], "sealed": sealed} for key in images]
            write_sidecars(self.fs, self.root, SEALS, name.rpartition(".")[0], seals)
        index.write_fragment(self.fs, self.root, name, table(rows, about))

    def view(self):
        """Key -> image, None for a failed row, by the index and ranged reads alone."""
        columns = ["key", "status", "shard", "offset", "length", "sha256"]
        found = {}
        for row in index.current(self.fs, self.root, columns).to_pylist():
            image = image_bytes(self.fs, self.root, row) if row["status"] == "ok" else None
            assert image is None or hashlib.sha256(image).hexdigest() == row["sha256"]
            found[row["key"]] = image
        return found

    def compact(self, images=100, size=1 << 20):
        with Lease(self.fs, self.root, "compact") as lease:
            return self.compact_under(lease, images, size)

    def compact_under(self, lease, images=100, size=1 << 20):
        return compaction.compact(self.fs, self.root, lease, shard_images=images, shard_bytes=size)

    def drop(self, *keys):
        with Lease(self.fs, self.root, "drop") as lease:
            return compaction.delete_keys(self.fs, self.root, lease, lambda given: np.isin(given, keys))

    def files(self, folder):
        return sorted(storage.sizes(self.fs, storage.join(self.root, folder)))

    def holds(self, image):
        return any(image in path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


def image(seed, length=200):
    return random.Random(seed).randbytes(length)


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_small_shards_become_one_and_superseded_bytes_go(tmp_path, container):
    made = Made(tmp_path, container)
    for n in range(6):
        made.add({f"{n}.png": image(n), "often.png": image(100 + n), f"bad{n}.png": None})
    before = made.view()
    done = made.compact()
    assert made.view() == before
    assert (done.fragments_before, done.fragments_after, done.rows) == (6, 1, 5)
    assert len(made.files("shards")) == len(made.files("index")) == 1
    assert not made.holds(image(100))
    assert made.compact().fragments_before == 0


def test_full_shards_stay_as_they_are(tmp_path):
    made = Made(tmp_path)
    made.add({f"a{n}": image(n) for n in range(10)})
    made.add({f"b{n}": image(n) for n in range(2)})
    made.add({f"c{n}": image(n) for n in range(2)})
    files = made.files("shards")
    made.compact(images=10)
    assert files[0] in made.files("shards")
    assert len(made.files("shards")) == 2


def test_results_of_different_makers_are_not_mixed(tmp_path):
    made = Made(tmp_path)
    made.add({"a": image(1)}, model="one")
    made.add({"b": image(2)}, model="two")
    assert made.compact().fragments_after == 0


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from([None, 1, 2, 3]), max_size=5), max_size=8),
    st.integers(1, 12),
    st.sets(st.sampled_from("abcdefgh")),
)
def test_whatever_the_history_the_view_stays_and_what_goes_is_gone(tmp_path_factory, history, images, gone):
    made = Made(tmp_path_factory.mktemp("out"))
    for step in history:
        if step:
            made.add({key: None if n is None else image(f"{key}{n}") for key, n in step.items()})
    before = made.view()
    with Lease(made.fs, made.root, "both") as lease:
        made.compact_under(lease, images)
        assert made.view() == before
        compaction.delete_keys(made.fs, made.root, lease, lambda given: np.isin(given, list(gone)))
    assert made.view() == {key: data for key, data in before.items() if key not in gone}
    assert not any(made.holds(image(f"{key}{n}")) for key in gone for n in (1, 2, 3))
    stems = {name.rpartition(".")[0] for name in made.files("index")}
    assert all(name.rpartition(".")[0] in stems for name in made.files("shards"))


@pytest.mark.parametrize("step", range(12))
def test_a_crash_on_the_way_loses_nothing_and_the_next_call_goes_on(tmp_path, monkeypatch, step):
    """Whichever write or removal is the last that happens."""
    made = Made(tmp_path)
    for n in range(3):
        made.add({f"{n}.png": image(n), "often.png": image(100 + n)}, sealed=b"sealed")
    before, left = made.view(), iter(range(step))

    def dying(work):
        def once(*given):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return work(*given)

        return once

    with Lease(made.fs, made.root, "dying") as lease, monkeypatch.context() as patch:
        for name in ("write_bytes", "upload", "remove"):
            patch.setattr(storage, name, dying(getattr(storage, name)))
        with pytest.raises(KeyboardInterrupt):
            made.compact_under(lease)
    assert made.view() == before
    made.compact()
    assert made.view() == before
    assert len(made.files("index")) == 1


def test_a_damaged_image_is_not_copied(tmp_path):
    made = Made(tmp_path)
    made.add({"a": image(1)})
    made.add({"b": image(2)})
    path = tmp_path / "shards" / made.files("shards")[0]
    path.write_bytes(path.read_bytes().replace(image(1)[:50], bytes(50)))
    with pytest.raises(storage.StorageError, match="damaged; run `recast index verify`"):
        made.compact()


def test_a_mark_holds_for_the_fragment_as_it_was(tmp_path):
    """A marked fragment's rows don't count, until another takes its place."""
    made = Made(tmp_path)
    made.add({"a": image(1)})
    (name,) = made.files("index")
    index.mark_damaged(made.fs, made.root, name)
    assert made.view() == {}
    assert index.stale_marks(made.fs, made.root) == set()
    sound = (tmp_path / "index" / name).read_bytes()
    (tmp_path / "index" / name).unlink()
    assert len(index.stale_marks(made.fs, made.root)) == 1
    (tmp_path / "index" / name).write_bytes(sound)


def test_each_row_keeps_its_epoch_and_its_time(tmp_path):
    made = Made(tmp_path)
    for n in range(3):
        made.add({f"{n}.png": image(n), "often.png": image(100 + n)}, epoch=n)
    columns = ["key", "epoch", "finished_at", "run"]
    before = index.current(made.fs, made.root, columns)
    made.compact()
    assert index.current(made.fs, made.root, columns) == before
    assert [row["epoch"] for row in before.to_pylist()] == [0, 1, 2, 2]


def test_a_later_turn_decides_whatever_the_clocks_say(tmp_path):
    """The row of the higher epoch finished earlier, by its writer's clock."""
    made = Made(tmp_path)
    made.add({"a": image(1)}, epoch=2, late_s=-3600)
    made.add({"a": image(2)}, epoch=1)
    assert made.view() == {"a": image(1)}
    assert index.current_row(made.fs, made.root, "a", ["epoch"])["epoch"] == 2
    made.compact()
    assert made.view() == {"a": image(1)}
    assert not made.holds(image(2))


def test_two_keys_of_one_hash_are_two_keys(tmp_path, monkeypatch):
    """Who names files can make such pairs: neither is lost, nor redone by each run."""

    def colliding(texts):
        return np.array([7 if text in ("a", "b") else hash(text) % 2**63 for text in texts], np.uint64)

    made = Made(tmp_path)
    made.add({"a": image(1), "c": image(3)})
    made.add({"b": image(2)})
    made.add({"a": image(4)}, epoch=1)
    for module in (fragment_states, completed):
        monkeypatch.setattr(module, "key_hashes", colliding)
    inputs = [
        Input(key=key, source=key, fingerprint=mark, container=b"x") for key in "abc" for mark in ("f", "another")
    ]
    for _ in range(2):
        found = completed.read_completed(made.fs, made.root, retry_failed=False)
        assert [i.key for i in found.unsettled(inputs) if i.fingerprint == "f"] == []
        assert [i.key for i in found.unsettled(inputs)] == ["a", "b", "c"]
        made.compact()
        assert made.view() == {"a": image(4), "b": image(2), "c": image(3)}
    assert not made.holds(image(1))


def test_seals_of_what_is_kept_move_along_and_those_of_what_was_superseded_go(tmp_path):
    """By row, not by key: an image's earlier version had seals of its own, which open nothing now."""
    made = Made(tmp_path)
    for n in range(3):
        made.add({f"{n}.png": image(n), "often.png": image(100 + n)}, epoch=n, sealed=f"version {n}".encode())
    made.compact()
    (stem,) = (name.rpartition(".")[0] for name in made.files("index"))
    found = {(seal["key"], seal["sealed"]) for seal in read_sidecars(made.fs, made.root, SEALS, stem)}
    assert found == {(f"{n}.png", f"version {n}".encode()) for n in range(3)} | {("often.png", b"version 2")}
    assert made.files("seals") == [f"{stem}.parquet"]


def test_rows_of_every_kind_beside_a_shard_move_along(tmp_path):
    """Also where there is no shard: a row's result may be its latent alone."""
    made = Made(tmp_path)
    made.add({"a.png": image(1)}, sealed=b"original")
    rows = [Row(key=f"{n}.png", source="s", fingerprint="f", status="ok", model="m", spec="s", run="r",
                finished_at=EPOCH) for n in range(2)]  # fmt: skip
    index.write_fragment(made.fs, made.root, "looked.tar", table(rows, {}))
    latents = [{"key": f"{n}.png", "latent": [0.5, n, 2.0, -1.0], "shape": [2, 2]} for n in range(2)]
    write_sidecars(made.fs, made.root, LATENTS, "looked", latents)
    made.compact()
    ((stem,),) = {tuple(name.rpartition(".")[0] for name in made.files(kind)) for kind in ("index", *KINDS)}
    assert read_sidecars(made.fs, made.root, LATENTS, stem) == latents
    assert [seal["key"] for seal in read_sidecars(made.fs, made.root, SEALS, stem)] == ["a.png"]
    made.drop("0.png", "a.png")
    assert [len(made.files(kind)) for kind in ("index", "shards", *KINDS)] == [1, 0, 0, 1]
    (stem,) = (name.rpartition(".")[0] for name in made.files("index"))
    assert read_sidecars(made.fs, made.root, LATENTS, stem) == latents[1:]


def test_a_compaction_that_has_lost_the_lease_removes_nothing(tmp_path):
    made = Made(tmp_path)
    for n in range(3):
        made.add({f"{n}.png": image(n), "often.png": image(100 + n)})
    before, files = made.view(), made.files("index")
    with Lease(made.fs, made.root, "slow") as slow:
        (tmp_path / "lease.json").write_text('{"run": "other"}')
        with pytest.raises(LeaseError):
            made.compact_under(slow)
        with pytest.raises(LeaseError):
            compaction.delete_keys(made.fs, made.root, slow, lambda keys: np.ones(len(keys), bool))
    assert made.files("index") == files
    assert made.view() == before
