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

from pipeline import bundles
from pipeline.bulk.units import pack_unit
from pipeline.bulk.worker import ShardMaker
from pipeline.images.sources import Source, inventory
from tests.pipeline.bulk.bundle_maker import upscaler
from tests.pipeline.bulk.test_worker import work

KEYS = ("a.png", "a.jpg", "a.b.png", "odd name (1).png", "sub/a.png", "sub/ünïcode.png", "bad.png")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for key in KEYS[:-1]:
        (tmp_path / "in" / key).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 7, 3), np.uint8)).save(tmp_path / "in" / key)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    maker = ShardMaker(work(tmp_path, shard_images=4), bundles.fetch(upscaler(tmp_path / "bundle")))
    maker(pack_unit(list(inventory(Source(url=str(tmp_path / "in"))))))
    return tmp_path / "out"


def test_duckdb_reads_the_current_view(output):
    view = (
        f"(select * from '{output}/index/*.parquet' "
        "qualify row_number() over (partition by key order by finished_at desc) = 1)"
    )
    assert {row[0] for row in duckdb.sql(f"select key from {view}").fetchall()} == set(KEYS)
    counts = duckdb.sql(f"select status, count(*) from {view} group by 1 order by 1").fetchall()
    assert counts == [("failed", 1), ("ok", 6)]
    kinds = duckdb.sql(f"select split_part(error, ':', 1) from {view} where status = 'failed'").fetchall()
    assert kinds == [("not-an-image",)]


def test_a_plain_ranged_read_gives_the_image(output):
    rows = duckdb.sql(f"select * from '{output}/index/*.parquet' where status = 'ok'").to_arrow_table().to_pylist()
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


def test_hugging_face_datasets_reads_the_shards(output):
    found = datasets.load_dataset("webdataset", data_files=f"{output}/shards/*.tar", split="train", streaming=True)
    images = [sample["png"] for sample in found]
    assert len(images) == 6
    assert all(image.size == (14, 18) for image in images)
