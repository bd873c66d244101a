"""Inventory tables that a stranger may have written: a row is one image on storage that was meant, or a failed row."""

import csv
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.pipeline import storage
from recast.pipeline.bulk.units import pack_unit, unpack_unit
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import contents, tables
from recast.pipeline.sources.inventory import Source, inventory, read_sources
from recast.pipeline.storage import StorageError

LIMIT = 1 << 20


def listed(url, **options):
    return unpack_unit(pack_unit(list(inventory(Source(urls=(str(url),), **options)))))


def outcome(item):
    try:
        return contents.read(item, LIMIT)
    except InputError as fault:
        return fault.kind


@pytest.fixture
def table(tmp_path):
    """Makes a CSV of URIs beside a few images -> what comes of each row."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "x::y.png", "a%20b.png", "..png"):
        (photos / name).write_bytes(name.encode())
    (photos / "folder").mkdir()

    def outcomes(*uris, **options):
        with open(photos / "list.csv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            writer = csv.writer(file)
            writer.writerows([("key", "uri"), *((f"{n}.png", uri) for n, uri in enumerate(uris))])
        return [outcome(item) for item in listed(photos / "list.csv", **options)]

    return outcomes


def test_names_beside_a_table_and_absolute_ones_are_read_as_they_are(table, tmp_path):
    photos = tmp_path / "photos"
    names = ["a.png", "x::y.png", "a%20b.png", "..png"]
    assert table(*names) == [name.encode() for name in names]
    assert table(*(f"{photos}/{name}" for name in names)) == [name.encode() for name in names]
    assert table(*(f"file://{photos}/{name}" for name in names)) == [name.encode() for name in names]


@pytest.mark.parametrize("uri", [
    "http://169.254.169.254/latest", "https://example.com/a.png", "s3://bucket/a.png", "gs://bucket/a.png",
    "reference://a.png::http://127.0.0.1/x", "simplecache::s3://b/a.png", "zip://a.png::file:///x.zip",
    "nonsense://x", "data://x", "memory://x", "http://[", "://x", "git://x", "github://a:b@/c", "FILE:///etc/passwd",
])  # fmt: skip
def test_other_schemes_are_failed_rows_that_say_how_to_allow_them(table, uri):
    assert table(uri, "a.png") == ["unsupported", b"a.png"]


@pytest.mark.parametrize("uri", [
    "../secret.png", "folder/../../secret.png", "%2e%2e/secret.png", "%252e%252e/secret.png", "a/..%2fsecret.png",
    "..\\secret.png", "file:///../etc/passwd", "a\0.png", "a\x1b[31m.png", "a\nb.png", "a\x7f.png", "x" * 20_000,
    "x" * 300,
])  # fmt: skip
def test_names_that_lead_outside_or_that_no_storage_has_are_unsafe(table, uri):
    assert table(uri, "a.png") == ["unsafe-name", b"a.png"]


def test_what_lies_there_but_is_no_file_and_what_is_not_there(table, tmp_path):
    """Failed rows, which are settled: nothing of this goes away by itself."""
    assert table("folder", "/dev/zero", "/dev/null", "gone.png", "a.png/x.png", "/proc/self/fd") == [
        "not-a-file", "not-a-file", "not-a-file", "missing", "missing", "not-a-file",
    ]  # fmt: skip


@pytest.mark.parametrize("url", [
    "http://169.254.169.254/x", "http://2852039166/x", "http://0xa9fea9fe/x", "http://0251.0376.0251.0376/x",
    "http://[fe80::1]/x", "http://[::ffff:169.254.169.254]/x", "http://metadata.google.internal/x", "http://[",
    "http://u:p@169.254.1.1:80/", "http://169.254.169.254./x",
])  # fmt: skip
def test_link_local_addresses_are_refused_where_http_is_allowed(table, url):
    assert tables.is_link_local(url)
    assert table(url, schemes=("https",)) == ["unsafe-name"]


def test_allowed_schemes_are_read_and_names_of_them_never_chained(table, bucket):
    fs, root = storage.filesystem(bucket)
    fs.pipe_file(f"{root}/a.png", b"in the bucket")
    rows = [
        f"{bucket}/a.png",
        f"s3a://{root}/a.png",
        f"{bucket}/gone.png",
        "s3://Not_A Bucket/a.png",
        f"{bucket}/a/../b",
    ]
    rows += [f"simplecache::{bucket}/a.png", f"{bucket}/a.png::file:///etc/passwd", f"{bucket}/{'k' * 2000}", "s3://x"]
    found = table(*rows, schemes=("s3",))
    assert found[:3] == [b"in the bucket"] * 2 + ["missing"]
    assert found[4:7] == ["unsafe-name", "unsupported", "unsafe-name"]  # rclone holds no key with `//`
    assert set(map(type, found[3:])) == {str}


def test_a_table_on_an_object_store_names_nothing_of_this_machine(bucket, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    fs, root = storage.filesystem(bucket)
    uris = [f"{bucket}/p/a.png", "a.png", f"{tmp_path}/secret.png", f"file://{tmp_path}/secret.png"]
    fs.pipe({f"{root}/p/a.png": b"x", f"{root}/p/list.csv": "\n".join(["uri", *uris]).encode()})
    found = [outcome(i) for i in inventory(Source(urls=(f"{bucket}/p/list.csv",), exclude=("a.png",)))]
    assert found == [b"x", "unsupported", "unsupported"]


def test_odd_values_of_other_columns_are_no_crash(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    sizes = ["9" * 5000, "-3", "²", "1e9", "1,x,y,z", "99999999999999999999", "", '"1\n"']
    rows = [f"{n},a.png,{size}" for n, size in enumerate(sizes)]
    (tmp_path / "list.csv").write_text("\n".join(["key,uri,size,etag", *rows, "8,a.png", ",,,", "9,,,"]))
    found = {item.key: outcome(item) for item in listed(tmp_path / "list.csv")}
    assert found == {**{str(n): b"a" for n in range(9)}, "(row 9)": "no-uri", "9": "no-uri"}


@pytest.mark.parametrize(("text", "said"), [
    ("uri\n" + "x" * (2 << 20), "a row of more than"),
    ("uri\n\"" + "a\n" * (1 << 20), "field larger than|a row of more than"),
    ("uri\n" + '"a\n",' * (1 << 18), "a row of more than"),
    ("u" * (2 << 20), "a row of more than"),
    (",".join("abc" * 100), "names no images"),
])  # fmt: skip
def test_fields_and_rows_without_an_end_are_refused_in_a_sentence(tmp_path, text, said):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(StorageError, match=said) as caught:
        listed(tmp_path / "list.csv")
    assert len(str(caught.value)) < 2000


def test_a_table_whose_names_are_not_utf8_reads_those_files(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / name).write_bytes(b"coffee")
    (tmp_path / "list.csv").write_bytes(b"uri\ncaf\xe9.png\n")
    (item,) = listed(tmp_path / "list.csv")
    assert (item.key, contents.read(item, LIMIT)) == (r"caf\xe9.png", b"coffee")


def test_an_index_sends_no_reader_to_the_web():
    """The `source` of a stranger's index names a URL: it is not asked for."""
    for uri in (
        "http://127.0.0.1:1/x",
        "range://0+5::http://127.0.0.1:1/x",
        "reference://x::/y",
        "range://x::file:///a",
    ):
        with pytest.raises((StorageError, InputError)):
            list(read_sources([uri]))


def test_an_inventory_in_parquet_with_values_that_python_cannot_hold(tmp_path):
    pq.write_table(
        pa.table({"uri": ["a.png"], "last_modified": pa.array([1 << 60], pa.timestamp("ms"))}), tmp_path / "l.parquet"
    )
    with pytest.raises(StorageError, match="is damaged"):
        listed(tmp_path / "l.parquet")
