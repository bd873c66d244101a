"""Outputs are read by the field's own tools as they are: webdataset, datasets, duckdb, and plain ranged reads."""

import hashlib
import io
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pytest
import webdataset
from PIL import Image

from recast.pipeline import bundles, storage
from recast.pipeline.bulk.network import BundlePayload
from recast.pipeline.bulk.units import pack_unit
from recast.pipeline.bulk.worker import UnitWorker
from recast.pipeline.output import index
from recast.pipeline.output.rows import table
from recast.pipeline.sources import contents
from recast.pipeline.sources.inventory import Source, inventory, read_sources
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import StorageError
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_worker import work
from tests.pipeline.output import test_index

KEYS = ("a.png", "a.jpg", "a.b.png", "odd name (1).png", "sub/a.png", "sub/ünïcode.png", "bad.png")


def made(tmp_path: Path, **changes) -> Path:
    random = np.random.default_rng(0)
    for key in KEYS[:-1]:
        (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 7, 3), np.uint8)).save(tmp_path / "in" / key)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    payload = BundlePayload(bundles.fetch(upscaler(tmp_path / "bundle")))
    operation = UnitWorker(work(tmp_path, shard_images=4, **changes), payload)
    operation(pack_unit(list(inventory(Source(urls=(str(tmp_path / "in"),))))))
    return tmp_path / "out"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return made(tmp_path)


@pytest.fixture
def in_parquet(tmp_path: Path) -> Path:
    return made(tmp_path, shards="parquet")


def test_duckdb_reads_the_current_view(output):
    view = (
        f"(select * from '{output}/index/*.parquet' "
        "qualify row_number() over (partition by key order by epoch desc, finished_at desc) = 1)"
    )
    assert {row[0] for row in duckdb.sql(f"select key from {view}").fetchall()} == set(KEYS)
    counts = duckdb.sql(f"select status, count(*) from {view} group by 1 order by 1").fetchall()
    assert counts == [("failed", 1), ("ok", 6)]
    kinds = duckdb.sql(f"select split_part(error, ':', 1) from {view} where status = 'failed'").fetchall()
    assert kinds == [("not-an-image",)]


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_a_plain_ranged_read_gives_the_image(tmp_path, container):
    output = made(tmp_path, shards=container)
    rows = duckdb.sql(f"select * from '{output}/index/*.parquet' where status = 'ok'").to_arrow_table().to_pylist()
    assert len(rows) == 6
    for row in rows:
        with open(output / "shards" / row["shard"], "rb") as shard:
            shard.seek(row["offset"])
            data = shard.read(row["length"])
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"]) == (14, 18)


def test_webdataset_sees_one_sample_an_image(output):
    shards = sorted(str(p) for p in (output / "shards").iterdir())
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert len(samples) == 6
    assert all(sample["png"].size == (14, 18) for sample in samples)
    rows = duckdb.sql(f"select key, source from '{output}/index/*.parquet' where status = 'ok'").fetchall()
    said = [tuple(sample["json"].values()) for sample in samples]
    assert sorted(said) == sorted((key, None, source) for key, source in rows)


def test_a_tar_of_an_output_as_source_gives_its_images(output, tmp_path, capsys):
    """What lies beside them is no input, and counted."""
    tar = next((output / "shards").iterdir())
    over = PassedOver()
    listed = [item.key for item in inventory(Source(urls=(str(tar),)), over)]
    assert listed
    assert all(key.endswith(".png") for key in listed)
    assert over.counts == {".json": len(listed)}


def test_hugging_face_datasets_reads_the_shards(output):
    found = datasets.load_dataset("webdataset", data_files=f"{output}/shards/*.tar", split="train", streaming=True)
    images = [sample["png"] for sample in found]
    assert len(images) == 6
    assert all(image.size == (14, 18) for image in images)


def test_parquet_shards_hold_the_rows_of_the_index(in_parquet):
    """The same columns and values with the image beside them, but for offsets; and duckdb reads them as they are."""
    rows = duckdb.sql(f"select * from '{in_parquet}/index/*.parquet' where status = 'ok' order by key")
    shards = duckdb.sql(f"select * from '{in_parquet}/shards/*.parquet' order by key")
    beside = shards.to_arrow_table()
    assert beside["offset"].null_count == len(beside)
    assert (
        beside.drop_columns(["image", "offset"]).to_pylist()
        == rows.to_arrow_table().drop_columns(["offset"]).to_pylist()
    )
    for row in beside.to_pylist():
        assert row["image"]["path"] == row["member"]
        assert hashlib.sha256(row["image"]["bytes"]).hexdigest() == row["sha256"]


def test_hugging_face_datasets_reads_parquet_shards(in_parquet):
    found = datasets.load_dataset("parquet", data_files=f"{in_parquet}/shards/*.parquet", split="train", streaming=True)
    samples = list(found.cast_column("image", datasets.Image()))
    assert {sample["key"] for sample in samples} == set(KEYS) - {"bad.png"}
    assert all(sample["image"].size == (14, 18) for sample in samples)


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_an_output_is_a_source(tmp_path, container):
    """The images of a previous output, under their keys there, from either kind of shard."""
    output = made(tmp_path, shards=container)
    rows = duckdb.sql(f"select key, sha256 from '{output}/index/*.parquet' where status = 'ok'").fetchall()
    items = list(inventory(Source(urls=(str(output),)), over := PassedOver()))
    assert over.counts == {"failed-before": 1}
    assert {i.key: hashlib.sha256(contents.read(i, 10**7)).hexdigest() for i in items} == dict(rows)
    again = dict(read_sources([item.source for item in items]))
    assert {hashlib.sha256(data).hexdigest() for data in again.values()} == {digest for _, digest in rows}


def test_results_without_an_image_are_counted_where_images_are_asked_for(tmp_path):
    """A row may be ok and its result what the index says of it, in an output that has nothing else, too."""
    fs, root = storage.filesystem(str(made(tmp_path)))
    index.write_fragment(fs, root, f"{'a' * 20}-1-000.tar", table([test_index.row("measured")], {}))
    items = list(inventory(Source(urls=(root,)), over := PassedOver()))
    assert len(items) == len(KEYS) - 1
    assert not any(item.problem for item in items)
    assert over.counts == {"failed-before": 1, "no-image": 1}
    fs, root = storage.filesystem(str(tmp_path / "measured"))
    index.write_fragment(fs, root, f"{'a' * 20}-1-000.tar", table([test_index.row("measured")], {}))
    assert list(inventory(Source(urls=(root,)), over := PassedOver())) == []
    assert over.counts == {"no-image": 1}


@pytest.mark.parametrize("part", ["index", "shards"])
def test_an_output_with_a_damaged_part_is_no_source(output, part):
    """Its other images alone would look like all of them, and to --prune like all that there still are."""
    spoilt = sorted((output / part).iterdir())[0]
    spoilt.write_bytes(spoilt.read_bytes()[:-9])
    fragment = output / "index" / f"{spoilt.stem}.parquet"
    with pytest.raises(StorageError, match=f"file://{fragment} is damaged .*run the job that made this output again"):
        list(inventory(Source(urls=(str(output),))))
    fragment.unlink()
    assert len(list(inventory(Source(urls=(str(output),))))) >= 1
