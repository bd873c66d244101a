"""Shards: every image lies where its row says, and doing a unit twice changes nothing that a row says."""

import datetime
import gc
import hashlib
import json

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.output import shards
from recast.pipeline.output.rows import Row, table
from recast.pipeline.output.shards import sample_json, shard

IMAGES = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=30)


def rows_of(images, run="20261120T210411-abcdef", minute=0):
    when = datetime.datetime(2026, 1, 1, 0, minute, tzinfo=datetime.UTC)
    return [
        Row(key=f"{n}.png", source="s", fingerprint="f", status="ok", model="m", spec="s", run=run, finished_at=when)
        for n in range(len(images))
    ]


def filled(folder, container, images, **when):
    rows = rows_of(images, **when)
    fs, path = storage.filesystem(str(folder / f"x.{container}"))
    with shard(container) as filling:
        for row, image in zip(rows, images, strict=True):
            filling.add(row, image, "png")
        size = filling.commit(fs, path)
    data = (folder / f"x.{container}").read_bytes()
    assert size == len(data)
    return rows, data


@pytest.mark.parametrize("container", ["tar", "parquet"])
@settings(max_examples=60, deadline=None)
@given(images=IMAGES)
def test_images_lie_where_their_rows_say(tmp_path_factory, container, images):
    """Alike ones too, and ones that look like parts of others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "ROW_GROUP_BYTES", 1000)
        rows, data = filled(tmp_path_factory.mktemp("shard"), container, [*images, images[0], images[0][:1]])
    for row, image in zip(rows, [*images, images[0], images[0][:1]], strict=True):
        assert data[row.offset : row.offset + row.length] == image
        assert row.sha256 == hashlib.sha256(image).hexdigest()
    assert len({row.offset for row in rows}) == len(rows)


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_a_unit_done_twice_has_one_layout(tmp_path, container):
    """A straggler of a dead run may overwrite a shard after another run's fragment: what its rows say stays true."""
    images = [bytes([n]) * (100 + n) for n in range(50)]
    first, before = filled(tmp_path, container, images)
    second, after = filled(tmp_path, container, images, run="20261121T000000-123456", minute=9)
    assert len(before) == len(after)
    assert [(r.offset, r.length, r.sha256) for r in first] == [(r.offset, r.length, r.sha256) for r in second]
    if container == "tar":
        assert before == after


@pytest.mark.parametrize("sources", [True, False])
def test_a_sample_says_its_key_its_regions_and_where_that_is_no_secret_its_source(sources):
    """The same bytes when the row is read back from an index, which keeps 32 bits of a number."""
    (row,) = rows_of([b"image"])
    row.regions = [{"kind": "face", "box": [0.1, 2.0, 3.3, 4.0], "score": 1 / 3, "action": None, "category": 3}]
    said = sample_json(row, sources=sources)
    face = {"kind": "face", "box": [0.1, 2.0, 3.3, 4.0], "score": 0.33333334, "category": 3}
    assert json.loads(said) == {"key": "0.png", "regions": [face]} | ({"source": "s"} if sources else {})
    assert sample_json(Row(**table([row], {}).to_pylist()[0]), sources=sources) == said


def test_parquet_shards_come_in_row_groups_that_memory_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "ROW_GROUP_BYTES", 1000)
    rows, _ = filled(tmp_path, "parquet", [bytes(400)] * 7)
    table = pq.ParquetFile(tmp_path / "x.parquet", pre_buffer=False)
    assert [table.metadata.row_group(n).num_rows for n in range(table.num_row_groups)] == [3, 3, 1]
    assert table.read(use_threads=False)["offset"].null_count == 7, "what no row knows before it is written"
    data = (tmp_path / "x.parquet").read_bytes()
    assert len({row.offset for row in rows}) == 7
    assert all(data[row.offset : row.offset + row.length] == bytes(400) for row in rows)


@pytest.mark.parametrize("container", ["tar", "parquet"])
@pytest.mark.filterwarnings("error")
def test_a_shard_given_up_leaves_without_a_word(container):
    """As when all of its images failed. What goes wrong in a finalizer reaches users as a traceback from nowhere."""
    with shard(container) as filling:
        filling.add(rows_of([b"x"])[0], b"x", "png")
    del filling
    gc.collect()
