"""A fragment's bytes: changed, cut or made by hostile hands, they are named as damaged or change nothing."""

import dataclasses
import datetime
import io
import os
import random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.pipeline import storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output import compaction, fragment, index, rows
from recast.pipeline.output.fragment import DamageError, decoded, encoded
from recast.pipeline.output.lease import Lease

WHEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MUTATIONS = int(os.environ.get("RECAST_TEST_MUTATIONS", "400"))
"""Of a fragment of each kind; all of 10,000 on request."""


def row(n: int, **changes) -> rows.Row:
    facts = {
        "key": f"{n}.png", "source": f"s3://bucket/{n}.png", "fingerprint": f"e{n}", "status": "ok", "model": "m",
        "spec": "s", "run": "r", "finished_at": WHEN, "epoch": 3, "shard": "a-3-000.tar", "offset": 512 * n,
        "length": 100, "member": f"{n}.png", "format": "png", "width": 1, "height": 1, "channels": 3,
        "sha256": f"{n:064}", "notes": ["a note"],
        "regions": [{"kind": "face", "box": [0.0, 1.0, 2.0, 3.0], "score": 0.5, "action": "solid"}],
    }  # fmt: skip
    return rows.Row(**(facts | changes))


ABOUT = {"recast.shard": "a-3-000.tar", "recast.shard_bytes": "100000", "recast.bundle": "b", "recast.settings": "{}"}
NAME = "a-3-000.parquet"


def sound(**changes) -> bytes:
    return encoded(rows.table([row(n, **changes) for n in range(20)], ABOUT))


def as_before() -> bytes:
    """A fragment as version 1 had them: without epochs, checksums and a digest."""
    data = io.BytesIO()
    pq.write_table(rows.table([row(n) for n in range(20)], ABOUT).drop_columns(["epoch"]), data, compression="zstd")
    return data.getvalue()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three flips, a cut at either end, a stretch repeated, left out, zeroed, or exchanged with another."""
    changed, length = bytearray(data), len(data)
    start, end = sorted((chance.randrange(length), chance.randrange(length)))
    match chance.randrange(8):
        case 0 | 1 | 2:
            for _ in range(chance.randrange(1, 4)):
                changed[chance.randrange(length)] ^= 1 << chance.randrange(8)
        case 3:
            del changed[start:]
        case 4:
            del changed[start:end]
        case 5:
            changed[start:start] = data[start:end]
        case 6:
            changed[start : start + chance.randrange(1, 64)] = bytes(chance.randrange(1, 64))
        case 7:
            size = chance.randrange(1, 200)
            changed[start : start + size], changed[end : end + size] = (
                data[end : end + size],
                data[start : start + size],
            )
    return bytes(changed)


def test_every_flipped_bit_is_found_or_harmless():
    data = sound()
    whole = decoded(data, NAME, rows.SCHEMA.names)
    harmless = 0
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        try:
            assert decoded(bytes(changed), NAME, rows.SCHEMA.names) == whole
            harmless += 1
        except DamageError:
            continue
    assert harmless <= len(fragment.MAGIC)


@pytest.mark.parametrize("made", [sound, as_before])
def test_ten_thousand_mutations_end_in_damage_or_in_the_same_rows(made):
    """Never a traceback, a hang or a heap of memory. What had no digest may change, and not into anything unlawful."""
    data, chance = made(), random.Random(15)
    whole = decoded(data, NAME, rows.SCHEMA.names)
    damaged = 0
    peak = pa.default_memory_pool().max_memory()
    for _ in range(MUTATIONS):
        try:
            found, about = decoded(mutated(data, chance), NAME, rows.SCHEMA.names)
        except DamageError:
            damaged += 1
            continue
        if made is sound:
            assert (found, about) == whole
        found.to_pylist()
    assert pa.default_memory_pool().max_memory() < peak + (256 << 20)
    assert damaged > MUTATIONS / 2


def test_columns_that_a_version_lacks_are_null_and_its_epoch_is_0():
    table, _ = decoded(as_before(), NAME, ["key", "epoch"])
    assert set(table["epoch"].to_pylist()) == {0}
    data = io.BytesIO()
    pq.write_table(rows.table([row(1)], ABOUT).drop_columns(["source"]), data)
    with pytest.raises(DamageError, match="no column source"):
        decoded(data.getvalue(), NAME, ["source"])


@pytest.mark.parametrize(
    ("changes", "about"),
    [
        ({"shard": "../../home/thesis.txt"}, {}),
        ({"shard": "b-3-000.tar"}, {}),
        ({}, {"recast.shard": "../../home/thesis.txt"}),
        ({}, {"recast.shard": "b-3-000.tar"}),
        ({}, {"recast.shard": "a-3-000.tar/../x.tar"}),
        ({}, {"recast.shard_bytes": "many"}),
        ({"offset": -1}, {}),
        ({"length": -1}, {}),
        ({"offset": 2**63 - 1}, {}),
        ({"length": 10**6}, {}),
        ({"offset": None}, {}),
        ({"shard": None}, {}),
        ({"shard": None, "offset": None, "member": None}, {}),
        ({"shard": None, "offset": None, "length": -1}, {}),
        ({"shard": None, "offset": None, "member": "../index/x.png"}, {}),
        ({"shard": None, "offset": None, "member": "/home/thesis.txt"}, {}),
        ({"shard": None, "offset": None, "member": "a//b.png"}, {}),
        ({"shard": None, "offset": None, "member": "a\\..\\b.png"}, {}),
        ({"shard": None, "offset": None, "member": "a\nb.png"}, {}),
        ({"status": "published"}, {}),
        ({"epoch": -1}, {}),
        ({"epoch": 2**62}, {}),
    ],
)
def test_what_no_honest_writer_says_is_damage(changes, about):
    data = encoded(rows.table([row(n, **(changes if n == 7 else {})) for n in range(9)], ABOUT | about))
    with pytest.raises(DamageError, match="damaged"):
        decoded(data, NAME, ["key"])


def test_a_text_that_a_million_rows_share_is_not_unpacked(monkeypatch):
    """A small file, and gigabytes once each row has its own copy."""
    monkeypatch.setattr(fragment, "MAX_UNPACKED_BYTES", 1 << 26)
    few = rows.table([row(1, key="k" * 5000)], ABOUT)
    many = few.take(pa.array(np.zeros(30_000, np.int64)))
    data = encoded(many)
    assert len(data) < 1 << 20
    with pytest.raises(DamageError, match="unpacks to more"):
        decoded(data, NAME, ["key"])


def test_a_strangers_output_can_name_no_file_of_yours(tmp_path):
    """Compaction, pruning, reading and checking leave what lies outside of the output alone (and unread)."""
    victim = tmp_path / "thesis.txt"
    victim.write_text("the only copy")
    fs, root = storage.filesystem(str(tmp_path / "out"))
    evil = {"shard": "../../thesis.txt", "offset": 0, "length": 0, "sha256": f"{0:064}"}
    storage.write_bytes(fs, f"{root}/shards/x.tar", b"")
    for n, about in enumerate(({}, ABOUT | {"recast.shard": "../../thesis.txt", "recast.shard_bytes": "13"})):
        index.write_fragment(fs, root, f"{n}.tar", rows.table([row(n, **evil)], about))
    as_file = {**evil, "shard": None, "offset": None, "member": "../../thesis.txt", "length": 13}
    index.write_fragment(fs, root, "2.files", rows.table([row(2, **as_file)], {}))
    assert len(index.current(fs, root, ["key"])) == 0
    assert len(verify(str(tmp_path / "out")).faults) == 4
    with Lease(fs, root, "compact") as lease:
        compaction.compact(fs, root, lease, shard_images=10, shard_bytes=1 << 20)
        compaction.delete_keys(fs, root, lease, lambda keys: np.ones(len(keys), bool))
    assert victim.read_text() == "the only copy"


def test_a_lost_answer_to_a_fragments_write_is_no_fault(tmp_path, monkeypatch):
    fs, root = storage.filesystem(str(tmp_path))
    write = storage.write_bytes

    def answer_lost(*given):
        write(*given)
        raise TimeoutError

    monkeypatch.setattr(storage, "write_bytes", answer_lost)
    index.write_fragment(fs, root, "a-3-000.tar", rows.table([dataclasses.replace(row(1), shard=None)], {}))
    monkeypatch.setattr(storage, "write_bytes", lambda *_: (_ for _ in ()).throw(TimeoutError()))
    with pytest.raises(TimeoutError):
        index.write_fragment(fs, root, "b-3-000.tar", rows.table([], {}))
