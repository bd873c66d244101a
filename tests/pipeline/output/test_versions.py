"""Outputs of version 1 are read, gone on with and compacted as they are; rows of version 2 may have no bytes."""

import datetime
import io
import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.jobs import index as commands
from recast.pipeline import report, storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output import index
from recast.pipeline.output.rows import FORMAT, Row, table
from recast.pipeline.storage import StorageError
from tests.pipeline.output.test_compaction import Made, image
from tests.pipeline.report.outputs import bulk
from tests.pipeline.report.outputs import row as seen_row
from tests.pipeline.report.test_report import Page, doubled

SINCE_1 = ("scores", "frames", "duration_s", "video", "clip", "clips", "epoch")
REGION_1 = pa.struct(
    [("kind", pa.string()), ("box", pa.list_(pa.float32())), ("score", pa.float32()), ("action", pa.string())]
)
FACE = {"kind": "face", "box": [1.0, 2.0, 3.0, 4.0], "score": 0.5, "action": "solid"}
NOW = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)


def to_version_1(made):
    """Write the fragments anew as version 1 did: no checksum, no later columns, regions of four fields."""
    for path in sorted((made.folder / "index").iterdir()):
        rows = pq.read_table(io.BytesIO(path.read_bytes()))
        about = {k: v for k, v in rows.schema.metadata.items() if k not in (b"recast.format", b"recast.checksum")}
        regions = pa.array(
            [[FACE] if status == "ok" else None for status in rows["status"].to_pylist()], pa.list_(REGION_1)
        )
        rows = rows.set_column(rows.column_names.index("regions"), "regions", regions).drop_columns(list(SINCE_1))
        pq.write_table(rows.replace_schema_metadata(about), path, compression="zstd")


@pytest.mark.parametrize("container", ["tar", "parquet"])
def test_an_output_of_version_1_is_read_gone_on_with_and_compacted(tmp_path, container):
    made = Made(tmp_path, container)
    made.add({"a.png": image(1), "b.png": image(2), "bad.png": None})
    made.add({"a.png": image(3)})
    to_version_1(made)
    before = made.view()
    assert before["a.png"] == image(3), "a later time decides where there is no epoch"
    made.add({"b.png": image(4)}, epoch=1, late_s=-1_000_000)
    assert made.view() == before | {"b.png": image(4)}, "an epoch decides, whatever the clocks say"
    made.compact()
    assert made.view() == before | {"b.png": image(4)}
    (name,) = made.files("index")
    rows = pq.read_table(io.BytesIO((tmp_path / "index" / name).read_bytes()))
    assert rows.schema.metadata[b"recast.format"] == FORMAT.encode()
    by_key = {row["key"]: row for row in rows.to_pylist()}
    assert (by_key["a.png"]["epoch"], by_key["b.png"]["epoch"]) == (0, 1)
    absent = dict.fromkeys(("detector", "category", "mask", "points", "track", "frame"))
    assert by_key["a.png"]["regions"] == [FACE | absent]


def test_queries_of_the_docs_give_the_current_view_of_mixed_versions(tmp_path):
    """What docs/output-format.md tells readers to do where an output was begun by version 1."""
    page = (Path(__file__).parents[3] / "docs/output-format.md").read_text()
    made = Made(tmp_path)
    made.add({"a.png": image(1), "b.png": image(2)})
    made.add({"a.png": image(3), "bad.png": None})
    to_version_1(made)
    made.add({"b.png": image(4)}, epoch=1, late_s=-1_000_000)
    expected = {row["key"]: row["sha256"] for row in index.current(made.fs, made.root, ["key", "sha256"]).to_pylist()}
    (sql,) = re.findall(r"```sql\n([^`]*union_by_name[^`]*);\n```", page)
    assert dict(duckdb.sql(f"select key, sha256 from ({sql.replace('out/', f'{tmp_path}/')})").fetchall()) == expected
    (python,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "unify_schemas" in block]
    session: dict = {}
    exec(python.replace("out/", f"{tmp_path}/"), session)
    assert dict(zip(session["rows"]["key"], session["rows"]["sha256"].replace({np.nan: None}), strict=True)) == expected


def row(key, **facts):
    return Row(
        key=key, source="s", fingerprint="f", status="ok", model="m", spec="s", run="r", finished_at=NOW, **facts
    )


def test_a_row_may_be_ok_and_have_no_bytes(tmp_path, capsys):
    """Its regions or scores are the result: it is verified, compacted and extracted as what it is."""
    made = Made(tmp_path / "out")
    mask = {
        "kind": "person",
        "box": [0, 0, 9, 9],
        "score": 0.9,
        "mask": "PPn0",
        "points": [1.0, 2.0, 1.0],
        "category": 1,
    }
    nothing = row("nothing.png", regions=[])
    found = row("found.png", regions=[mask], scores=[{"name": "fake", "value": 0.25, "by": "sha256:d"}])
    index.write_fragment(made.fs, made.root, "looked.tar", table([found, nothing], {}))
    made.add({"bad.png": None})
    for _ in range(2):
        view = {r["key"]: r for r in index.current(made.fs, made.root, ["key", "regions", "scores"]).to_pylist()}
        assert view["nothing.png"]["regions"] == []
        assert view["bad.png"]["regions"] is None
        assert view["found.png"]["scores"] == found.scores
        assert {name: view["found.png"]["regions"][0][name] for name in mask} == mask | {"score": pytest.approx(0.9)}
        verdict = verify(str(made.folder))
        assert (verdict.rows, verdict.ok, verdict.faults) == (3, 2, [])
        made.compact()
    assert made.files("shards") == []
    with pytest.raises(StorageError, match="its result is what the index says"):
        commands.get(str(made.folder), "found.png")
    commands.extract(str(made.folder), str(tmp_path / "files"))
    assert "0 images" in capsys.readouterr().out
    assert not storage.sizes(*storage.filesystem(str(tmp_path / "files")))


def test_results_that_are_no_images_say_what_was_seen(tmp_path):
    face = {"kind": "face", "box": [0, 0, 4, 4], "score": 0.5}
    seen = [
        seen_row("faces.png", "file:///photos/faces.png", status="ok", regions=[face, face]),
        seen_row("measured.png", "file:///photos/measured.png", status="ok", scores=[{"name": "fake", "value": 0.25}]),
        seen_row("nobody.png", "file:///photos/nobody.png", status="ok", regions=[]),
    ]
    bulk(tmp_path / "out", tmp_path / "in", {"a.png": doubled(24)}, seen)
    page = Page(report.render(str(tmp_path / "out")))
    for said in ("face: 2.", "fake: 0.25.", "nothing was found."):
        assert f"The result is no image; {said}" in page.text
    assert "4 results" in page.text
    assert "None" not in page.text
    assert "missing" not in page.values("class")
