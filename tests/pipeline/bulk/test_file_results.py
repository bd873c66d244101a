"""`--shards files`: results as plain files, with what is promised of every output."""

import dataclasses
import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.jobs import index as commands
from recast.pipeline import storage
from recast.pipeline.bulk import road
from recast.pipeline.bulk.completed import Completed
from recast.pipeline.bulk.file_results import FileResults, HashSet, SamePathError
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.images.encode import Encoder
from recast.pipeline.output.index import current, key_hashes
from recast.pipeline.output.plain_files import ForeignFilesError
from recast.pipeline.output.rows import SCHEMA
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.progress import Silent
from recast.pipeline.report import page
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source, SourceIsOutputError
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image, job, view


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return upscaler(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for n, name in enumerate(("a.png", "b.jpg", "sub/c.png", "sub/deep/d.JPEG")):
        image(tmp_path / "in" / name, n)
    (tmp_path / "in/bad.png").write_bytes(b"no image")
    return tmp_path / "in"


def run(source: Path | str, output: Path, model: str, **changes):
    return road.run(job(source, output, model, **{"on": "here", "shards": "files", **changes}), Silent())


def files(output: Path) -> dict[str, bytes]:
    found = (output / "files").rglob("*")
    return {str(p.relative_to(output / "files")): p.read_bytes() for p in found if p.is_file() and p.name != ".recast"}


def rows(output: Path) -> dict[str, dict]:
    fs, path = storage.filesystem(str(output))
    return {row["key"]: row for row in current(fs, path, SCHEMA.names).to_pylist()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_results_are_files_with_the_bytes_that_shards_would_hold(source, model, tmp_path):
    run(source, tmp_path / "tars", model, shards="tar")
    summary = run(source, tmp_path / "out", model, shard_images=2)
    assert (summary.ok, summary.failed, summary.shards) == (4, 1, 0)
    names = {"a.png": "a.png", "b.jpg": "b.jpg.png", "sub/c.png": "sub/c.png", "sub/deep/d.JPEG": "sub/deep/d.JPEG.png"}
    found = files(tmp_path / "out")
    assert set(found) == set(names.values())
    assert not (tmp_path / "out/shards").exists()
    assert view(tmp_path / "out") == view(tmp_path / "tars")
    for key, row in rows(tmp_path / "out").items():
        if key != "bad.png":
            place = (row["shard"], row["offset"], row["member"], row["length"], row["sha256"])
            assert place == (None, None, names[key], len(found[names[key]]), sha256(found[names[key]]))
    assert verify(str(tmp_path / "out")).faults == []
    assert run(source, tmp_path / "out", model).settled_before == 5


def test_endings_of_one_format_are_one(source, model, tmp_path):
    run(source, tmp_path / "out", model, encoder=Encoder(format="jpeg"))
    assert set(files(tmp_path / "out")) == {"a.png.jpg", "b.jpg", "sub/c.png.jpg", "sub/deep/d.JPEG"}


def test_every_reader_finds_them(source, model, tmp_path, capfdbinary):
    out = tmp_path / "out"
    run(source, out, model)
    found = files(out)
    seen = OutputFileSystem(str(out))
    assert {name: seen.cat_file(name) for name in seen.find("")} == found
    assert commands.get(str(out), "b.jpg") == 0
    assert capfdbinary.readouterr().out == found["b.jpg.png"]
    commands.extract(str(out), str(tmp_path / "there"))
    assert {n: (tmp_path / "there" / n).read_bytes() for n in found} == found
    assert page.render(str(out)).count("can’t be read") == 0
    run(out, tmp_path / "twice", model)
    assert {row["status"] for row in rows(tmp_path / "twice").values()} == {"ok"}
    assert rows(tmp_path / "twice")["b.jpg"]["fingerprint"] == f"sha256:{sha256(found['b.jpg.png'])}"


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_file_that_is_missing_or_cut_is_done_again_and_no_other(source, model, tmp_path, harm):
    run(source, tmp_path / "out", model)
    before = files(tmp_path / "out")
    harm(tmp_path / "out/files/sub/c.png")
    assert len(verify(str(tmp_path / "out")).faults) == 1
    summary = run(source, tmp_path / "out", model)
    assert (summary.ok + summary.failed, files(tmp_path / "out")) == (4, before), "the check marked a fragment of four"
    harm(tmp_path / "out/files/sub/c.png")
    summary = run(source, tmp_path / "out", model)
    assert (summary.ok, summary.settled_before, files(tmp_path / "out")) == (1, 4, before)
    assert verify(str(tmp_path / "out")).faults == []


def test_a_check_tells_of_changed_bytes_and_of_files_without_a_row_and_a_run_makes_up_for_both(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    before = files(tmp_path / "out")
    changed = bytearray(before["a.png"])
    changed[60] ^= 1
    (tmp_path / "out/files/a.png").write_bytes(changed)
    (tmp_path / "out/files/sub/stray.png").write_bytes(b"stray")
    (tmp_path / "out/files/notes.txt").write_bytes(b"no picture, and not ours to remove")
    verdict = verify(str(tmp_path / "out"))
    assert (len(verdict.faults), verdict.marked) == (2, 1)
    assert any("a.png (files/a.png): the bytes don't match" in fault for fault in verdict.faults)
    assert any("files/sub/stray.png: no row names it" in fault for fault in verdict.faults)
    run(source, tmp_path / "out", model)
    assert files(tmp_path / "out") == {**before, "notes.txt": b"no picture, and not ours to remove"}
    assert verify(str(tmp_path / "out")).faults == []


def test_changed_inputs_have_new_files_and_vanished_ones_go_with_prune(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    image(source / "a.png", 9)
    (source / "sub/deep/d.JPEG").unlink()
    summary = run(source, tmp_path / "out", model, prune=True)
    assert (summary.ok, summary.pruned) == (1, 1)
    run(source, tmp_path / "fresh", model)
    assert files(tmp_path / "out") == files(tmp_path / "fresh")
    assert not (tmp_path / "out/files/sub/deep").exists()
    assert verify(str(tmp_path / "out")).faults == []


def test_other_shards_in_their_place_leave_no_file_behind_and_none_the_other_way(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    run(source, tmp_path / "out", model, shards="tar", encoder=Encoder(format="jpeg"), replace=True)
    assert files(tmp_path / "out") == {}
    assert verify(str(tmp_path / "out")).faults == []
    run(source, tmp_path / "out", model, encoder=Encoder(format="webp"), replace=True)
    assert (len(files(tmp_path / "out")), list((tmp_path / "out/shards").iterdir())) == (4, [])
    commands.compact(str(tmp_path / "out"), shard_images=100, shard_bytes=1 << 20)
    assert len(files(tmp_path / "out")) == 4
    assert verify(str(tmp_path / "out")).faults == []


def listing(*keys: str):
    return [Input(key=key, source=key, fingerprint="f", container=b"x") for key in keys]


@pytest.mark.parametrize(("keys", "named"), [
    (("a.jpg", "a.jpg.png"), "a.jpg.png and a.jpg would both have the result files/a.jpg.png"),
    (("a.jpg.png", "z.png", "a.jpg"), "a.jpg and a.jpg.png would both"),
    (("x/a.png", "x/a.png/b.png"), "files/x/a.png would be the result of x/a.png or x/a, and a folder"),
    (("x/a.png/b/c.png", "x/a.png"), "files/x/a.png would be the result of x/a.png or x/a, and a folder"),
])  # fmt: skip
def test_results_that_would_be_one_file_are_refused_with_both_names(keys, named, monkeypatch):
    """In one batch of the listing, and in different ones."""
    for at_once in (100, 1):
        monkeypatch.setattr("recast.pipeline.bulk.file_results.COMPARED_AT_ONCE", at_once)
        with pytest.raises(SamePathError) as refused:
            list(FileResults(*storage.filesystem("out"), "png", Completed()).checked(listing(*keys)))
        assert named in str(refused.value)


def test_where_a_disk_ignores_case_so_does_this(monkeypatch):
    monkeypatch.setattr("recast.pipeline.output.plain_files.ignores_case", lambda fs, output: True)
    with pytest.raises(SamePathError, match=r"A\.png and .* would both .*differ in case"):
        list(FileResults(*storage.filesystem("out"), "png", Completed()).checked(listing("x/a.PNG", "X/A.png")))


def test_neighbours_in_folders_are_no_clash():
    inputs = listing("a/b.png", "a/c.png", "a.png", "b/a/b.png", "a/d/e.png", "a/b.jpg", "a/f.png")
    assert list(FileResults(*storage.filesystem("out"), "png", Completed()).checked(inputs)) == inputs


def test_a_run_with_such_inputs_is_refused_before_anything_is_written(source, model, tmp_path):
    image(source / "b.jpg.png", 5)
    with pytest.raises(SamePathError):
        run(source, tmp_path / "out", model)
    assert not (tmp_path / "out/files").exists()


def test_a_result_of_an_input_that_is_gone_is_not_written_over_by_anothers(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    before = files(tmp_path / "out")
    (source / "b.jpg").unlink()
    image(source / "b.jpg.png", 5)
    with pytest.raises(SamePathError, match=r"b\.jpg\.png and b\.jpg would both"):
        run(source, tmp_path / "out", model)
    assert files(tmp_path / "out") == before
    assert verify(str(tmp_path / "out")).faults == []


def test_names_that_no_file_can_have_are_rows(model, tmp_path):
    image(tmp_path / "x.png", 1)
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name in ("good.png", "b" * 260 + ".png", "c\nd.png"):
            info = tarfile.TarInfo(name)
            info.size = len(data := (tmp_path / "x.png").read_bytes())
            tar.addfile(info, io.BytesIO(data))
    summary = run(tmp_path / "in.tar", tmp_path / "out", model)
    assert (summary.ok, summary.failures) == (1, {"name-too-long": 1, "unsafe-name": 1})
    assert set(files(tmp_path / "out")) == {"good.png"}
    summary = run(tmp_path / "in.tar", tmp_path / "out", model, shards="tar", retry_failed=True)
    assert (summary.ok, verify(str(tmp_path / "out")).faults) == (2, [])


def test_files_of_somebody_else_are_never_touched(source, model, tmp_path):
    (tmp_path / "out/files").mkdir(parents=True)
    (tmp_path / "out/files/a.png").write_bytes(b"mine")
    with pytest.raises(ForeignFilesError):
        run(source, tmp_path / "out", model)
    run(source, tmp_path / "out", model, shards="tar")
    assert files(tmp_path / "out") == {"a.png": b"mine"}


def test_the_folder_of_results_is_no_source_of_the_same_output(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    own = Source(urls=(str(tmp_path / "out/files"),), skip=str(tmp_path / "out"))
    with pytest.raises(SourceIsOutputError):
        road.run(dataclasses.replace(job(source, tmp_path / "out", model), source=own), Silent())
    summary = run(tmp_path / "out/files", tmp_path / "other", model)
    assert (summary.ok, summary.failed, summary.passed_over) == (4, 0, {"recast-output": 1})


def test_the_manifest_and_the_index_tell_what_is_packed(source, model, tmp_path):
    run(source, tmp_path / "out", model)
    (manifest,) = (tmp_path / "out/runs").iterdir()
    facts = json.loads(manifest.read_text())
    assert (facts["spec"]["shards"], facts["shards"]) == ("files", 0)
    assert facts["bytes"]["written"] == sum(map(len, files(tmp_path / "out").values()))


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 40), max_size=12), max_size=12))
def test_a_set_of_hashes_is_a_set(batches):
    numbers, seen = HashSet(), set()
    for batch in batches:
        hashes = key_hashes(map(str, batch))
        fresh = [(n in seen or n in batch[:place]) for place, n in enumerate(batch)]
        assert numbers.add(hashes).tolist() == fresh
        seen.update(batch)
        assert numbers.has(key_hashes(map(str, range(40)))).tolist() == [n in seen for n in range(40)]
    assert not np.any(HashSet().has(key_hashes(["a"])))
