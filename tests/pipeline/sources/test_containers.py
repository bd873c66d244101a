"""Compressed tars, Parquet files of images, inventory tables and previous outputs as sources, and several at once."""

import csv
import gzip
import io
import random
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import compressed, contents
from recast.pipeline.sources.inventory import ClashError, Source, inventory, read_sources
from recast.pipeline.sources.passed_over import PassedOver
from recast.pipeline.storage import StorageError

LIMIT = 8 << 20


def listed(*urls, **options):
    return list(inventory(Source(urls=tuple(map(str, urls)), **options)))


def read_all(items):
    return {item.key: contents.read(item, LIMIT) for item in items}


def tar_bytes(images):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, image in images.items():
            info = tarfile.TarInfo(name)
            info.size = len(image)
            tar.addfile(info, io.BytesIO(image))
    return data.getvalue()


PACKERS = {
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
IMAGES = {f"{n:03}.png": random.Random(n).randbytes(1000 + 997 * n) for n in range(40)}


@pytest.mark.parametrize("ending", PACKERS)
def test_members_of_compressed_tars_are_read_in_any_order(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(PACKERS[ending](tar_bytes(IMAGES)))
    found = listed(path)
    assert read_all(found) == IMAGES
    assert read_all(reversed(found)) == IMAGES
    assert dict(read_sources([found[7].source])) == {found[7].source: IMAGES["007.png"]}


def test_threads_that_fetch_at_once_share_one_pass(tmp_path, monkeypatch):
    """Members asked for a little out of order don't unpack the archive again from its start."""
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes(IMAGES)))
    found = listed(path)
    begun = []
    begin = compressed.ForwardReader._begin
    monkeypatch.setattr(compressed.ForwardReader, "_begin", lambda self: (begun.append(1), begin(self)))
    with ThreadPoolExecutor(8) as pool:
        data = list(pool.map(lambda item: contents.read(item, LIMIT), found))
    assert data == list(IMAGES.values())
    assert len(begun) == 1


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_tar_cut_short_accounts_for_itself(tmp_path, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(PACKERS[ending](tar_bytes(IMAGES))[:200_000])
    found = listed(path)
    problems = [item for item in found if item.problem]
    assert len(problems) == 1
    assert problems[0].problem.startswith("truncated")
    sound = 0
    for item in found:
        try:
            assert contents.read(item, LIMIT) == IMAGES[item.key]
            sound += 1
        except InputError as fault:
            assert fault.kind in {"truncated", "corrupt"}
    assert sound >= 5


def test_in_a_folder_a_file_that_is_no_archive_is_one_failed_input(tmp_path):
    """One bad archive of many is a row, not the end of the run; named itself, it is an error."""
    (tmp_path / "bad.tar.gz").write_bytes(b"nonsense" * 100)
    (tmp_path / "bad.zip").write_bytes(b"nonsense" * 100)
    (tmp_path / "bad.parquet").write_bytes(b"nonsense" * 100)
    (tmp_path / "good.tar").write_bytes(tar_bytes({"x.png": b"x"}))
    found = {item.key: item.problem.partition(":")[0] for item in listed(tmp_path)}
    assert found == {
        "bad.parquet": "not-an-archive", "bad.tar.gz": "not-an-archive", "bad.zip": "not-an-archive",
        "good.tar/x.png": "",
    }  # fmt: skip
    for name in ("bad.tar.gz", "bad.zip", "bad.parquet"):
        with pytest.raises(StorageError, match="not.*readable"):
            listed(tmp_path / name)


def test_a_table_without_images_in_a_folder_is_passed_over_and_counted(tmp_path):
    """As `boxes.parquet` beside the images that it is about; named itself, it is an error."""
    (tmp_path / "x.png").write_bytes(b"x")
    pq.write_table(pa.table({"key": ["x.png"], "left": [1.0]}), tmp_path / "boxes.parquet")
    over = PassedOver()
    assert [item.key for item in inventory(Source(urls=(str(tmp_path),)), over)] == ["x.png"]
    assert over.counts == {"table-without-images": 1}
    with pytest.raises(StorageError, match="names no images"):
        listed(tmp_path / "boxes.parquet")


def hugging_face(path, images, names=None):
    rows = [{"bytes": data, "path": name} for name, data in zip(names or [None] * len(images), images, strict=True)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind), "label": list(range(len(rows)))}), path, row_group_size=7)


def test_parquet_in_the_hugging_face_form(tmp_path):
    images = list(IMAGES.values())
    hugging_face(tmp_path / "a.parquet", images, list(IMAGES))
    found = listed(tmp_path / "a.parquet")
    assert read_all(found) == IMAGES
    assert found[3].source == f"parquet://3::file://{tmp_path}/a.parquet"
    assert dict(read_sources([found[3].source])) == {found[3].source: images[3]}


def test_parquet_rows_without_a_name_are_keyed_by_number(tmp_path):
    hugging_face(tmp_path / "a.parquet", [b"a", b"b"])
    assert read_all(listed(tmp_path)) == {"a.parquet/000000000": b"a", "a.parquet/000000001": b"b"}


def test_parquet_with_plain_bytes_and_a_key(tmp_path):
    names = ["x/1.png", "/abs/2.png", "x/1.png", "../3.png"]
    table = pa.table({"noise": [b"n"] * 4, "key": names, "image": [b"1", b"2", b"again", b"3"]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = listed(tmp_path / "a.parquet")
    assert [item.problem.partition(":")[0] for item in found] == ["", "", "", "unsafe-name"]
    assert read_all(found[:3]) == {"x/1.png": b"1", "abs/2.png": b"2", "x/1.png#2": b"again"}


def test_a_null_image_is_an_empty_input(tmp_path):
    pq.write_table(pa.table({"image": pa.array([None, b"x"], pa.binary())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="empty"):
        contents.read(listed(tmp_path / "a.parquet")[0], LIMIT)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=60))
def test_damaged_parquet_never_crashes(tmp_path_factory, place, noise):
    """Whatever bytes are overwritten, a row is read, or faulted with a kind, or the file refused with a sentence."""
    path = tmp_path_factory.mktemp("fuzz") / "a.parquet"
    hugging_face(path, [bytes([n]) * 200 for n in range(10)], [f"{n}.png" for n in range(10)])
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place : place + len(noise)] = noise
    path.write_bytes(bytes(data))
    try:
        found = listed(path)
    except StorageError:
        return
    for item in found:
        try:
            contents.read(item, LIMIT)
        except InputError as fault:
            assert fault.kind in {"corrupt", "empty", "truncated", "too-large", "unsafe-name"}


def photos(folder):
    folder.mkdir()
    for name in ("a.png", "b c.png", "ü.png"):
        (folder / name).write_bytes(name.encode())
    return folder


def write_csv(path, rows):
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


def test_an_inventory_in_csv(tmp_path):
    folder = photos(tmp_path / "photos")
    rows = [{"uri": f"file://{folder}/{name}"} for name in ("a.png", "b c.png")]
    rows += [{"uri": f"{folder}/ü.png"}, {"uri": "photos/a.png"}]
    write_csv(tmp_path / "list.csv", rows)
    found = listed(tmp_path / "list.csv")
    here = str(folder).lstrip("/")
    assert [item.key.lstrip("/") for item in found] == [
        f"{here}/a.png",
        f"{here}/b c.png",
        f"{here}/ü.png",
        "photos/a.png",
    ]
    assert [contents.read(item, LIMIT).decode() for item in found] == ["a.png", "b c.png", "ü.png", "a.png"]


def test_an_inventory_in_parquet_with_keys_and_etags(tmp_path):
    """Keys and ETags of the table's; an object listed by its store would have the same fingerprint."""
    folder = photos(tmp_path / "photos")
    table = {"key": ["x", "y"], "uri": [f"file://{folder}/a.png", f"file://{folder}/gone.png"], "etag": ['"1"', "2"]}
    pq.write_table(pa.table(table), tmp_path / "list.parquet")
    found = listed(tmp_path / "list.parquet")
    assert [(item.key, item.fingerprint) for item in found] == [("x", "etag:1"), ("y", "etag:2")]
    assert contents.read(found[0], LIMIT) == b"a.png"
    with pytest.raises(InputError, match="missing: nothing lies where the inventory says"):
        contents.read(found[1], LIMIT)


def test_an_inventory_as_s3_writes_them(tmp_path, bucket):
    """Columns bucket and key; the fingerprints are those that listing the bucket gives."""
    fs, path = storage.filesystem(bucket)
    for name in ("x/a.png", "x/b.png"):
        fs.pipe_file(f"{path}/{name}", name.encode())
    by_listing = listed(bucket)
    rows = [{"bucket": path, "key": item.key, "e_tag": item.fingerprint.removeprefix("etag:")} for item in by_listing]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "inventory.parquet")
    by_table = listed(tmp_path / "inventory.parquet", schemes=("s3",))
    assert [(i.key, i.fingerprint) for i in by_table] == [(i.key, i.fingerprint) for i in by_listing]
    assert read_all(by_table) == {"x/a.png": b"x/a.png", "x/b.png": b"x/b.png"}


def test_an_inventory_without_uris_says_what_it_needs(tmp_path):
    write_csv(tmp_path / "list.csv", [{"name": "a"}])
    with pytest.raises(StorageError, match="needs a column of URIs"):
        listed(tmp_path / "list.csv")


def test_in_a_folder_tables_are_sidecars_like_others(tmp_path):
    """A table beside images is no inventory; it is passed over, and counted."""
    photos(tmp_path / "photos")
    write_csv(tmp_path / "photos/labels.csv", [{"path": "a.png"}])
    over = PassedOver()
    found = inventory(Source(urls=(str(tmp_path / "photos"),)), over)
    assert [item.key for item in found] == ["a.png", "b c.png", "ü.png"]
    assert over.counts == {".csv": 1}


def test_several_sources_make_one_inventory(tmp_path):
    photos(tmp_path / "photos")
    (tmp_path / "a.tar").write_bytes(tar_bytes({"t.png": b"t"}))
    assert [i.key for i in listed(tmp_path / "photos", tmp_path / "a.tar")] == ["a.png", "b c.png", "ü.png", "t.png"]


def test_two_inputs_of_one_key_are_refused_before_work_starts(tmp_path):
    photos(tmp_path / "photos")
    (tmp_path / "a.tar").write_bytes(tar_bytes({"a.png": b"t"}))
    with pytest.raises(ClashError, match=r"key a\.png: file://.*photos/a\.png and tar://a\.png::file://.*a\.tar"):
        inventory(Source(urls=(str(tmp_path / "photos"), str(tmp_path / "a.tar"))))
    kept = listed(tmp_path / "photos", tmp_path / "a.tar", exclude=("a.png",))
    assert [item.key for item in kept] == ["b c.png", "ü.png"]
