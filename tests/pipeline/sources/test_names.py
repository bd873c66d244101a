"""Names: each is opened as it was listed, has a key of its own, and is never read as a URL."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.pipeline import storage
from recast.pipeline.bulk.units import pack_unit, unpack_unit
from recast.pipeline.sources import contents
from recast.pipeline.sources.inputs import Keys, readable, unreadable
from recast.pipeline.sources.inventory import ClashError, Source, inventory, read_sources
from recast.pipeline.storage import StorageError

LIMIT = 1 << 20
ODD = [
    b"2024-01-01T10::30.png", b"x.png", b"x.png::old.png", b"simplecache::x.png", b"zip::a.png", b"a?versionId=abc.png",
    b"a.png?versionId=abc", b"#.png", b"%2e%2e.png", b"a%20b.png", b"*.png", b"[a].png", b"{a}.png", b" a b .png",
    b"new\nline.png", b"caf\xe9.png", rb"caf\xe9.png", rb"caf\x5cxe9.png", "é.png".encode(), "e\u0301.png".encode(),
    b"~.png", b"$HOME.png", b"file:x.png", b"s3:b.png", b"-rf.png", b"&;|.png", b"back\\slash.png", b"\x01.png",
]  # fmt: skip


def listed(*urls, **options):
    return unpack_unit(pack_unit(list(inventory(Source(urls=tuple(map(str, urls)), **options)))))


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "2024::10 [odd] é"
    folder.mkdir()
    for name in ODD:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"bytes of " + name)
    return folder


def test_every_odd_name_reads_its_own_bytes_under_a_key_of_its_own(odd_folder):
    """Also after the trip to a worker, also from the index's `source`, in folders and globs."""
    for url in (odd_folder, f"{odd_folder}/", f"{odd_folder.parent}/*/*"):
        found = listed(url)
        assert len({item.key for item in found}) == len(found) == len(ODD)
        assert {contents.read(item, LIMIT) for item in found} == {b"bytes of " + name for name in ODD}
        again = dict(read_sources([item.source for item in found]))
        assert all(again[item.source] == contents.read(item, LIMIT) for item in found)


def test_one_odd_file_named_as_source_reads_its_own_bytes(odd_folder):
    for name in ("2024-01-01T10::30.png", "x.png::old.png", "simplecache::x.png", "%2e%2e.png", "[a].png"):
        (item,) = listed(f"{odd_folder}/{name}")
        assert contents.read(item, LIMIT) == b"bytes of " + name.encode()


def test_odd_names_of_archives_and_members_read_their_own_bytes(tmp_path):
    """A member and an archive with `::` in their names can be told apart in the index's `source`, too."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in (os.fsdecode(name) for name in ODD):
            info = tarfile.TarInfo(name)
            info.size = len(os.fsencode(name))
            tar.addfile(info, io.BytesIO(os.fsencode(name)))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a::b#%.tar").write_bytes(data.getvalue())
    with zipfile.ZipFile(tmp_path / "in/é::.zip", "w") as archive:
        archive.writestr("m::n.png", b"zipped")
    pq.write_table(pa.table({"image": [b"row"], "key": ["r::s.png"]}), tmp_path / "in/t::.parquet")
    found = listed(tmp_path / "in")
    read = {item.key: contents.read(item, LIMIT) for item in found}
    assert len(read) == len(found) == len(ODD) + 2
    assert {data for key, data in read.items() if key.startswith("a::b#%.tar/")} == set(ODD)
    assert dict(read_sources([item.source for item in found])) == {item.source: read[item.key] for item in found}


def test_odd_keys_of_an_object_store_read_their_own_bytes(bucket):
    fs, root = storage.filesystem(bucket)
    names = [
        *("colon::two.png", "x.png", "x.png::old.png", "a?versionId=abc", "b.png?versionId=1", "#.png", "%2e%2e.png"),
        *("*.png", "[a].png", " a b .png", "ü+&.png", "s3:b.png", "$HOME", "~"),
    ]
    for name in names:
        fs.call_s3("put_object", Bucket=root, Key=f"p/{name}", Body=f"bytes of {name}".encode())
    found = listed(f"{bucket}/p")
    read = {item.key: contents.read(item, LIMIT).decode() for item in found}
    assert read == {name: f"bytes of {name}" for name in names}
    assert {k: v.decode() for k, v in read_sources([i.source for i in found])} == {i.source: read[i.key] for i in found}


def test_what_is_typed_may_still_be_a_chain(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/1.png", b"one")
        archive.writestr("x/2::3.png", b"two")
    found = listed(f"zip://x::file://{tmp_path}/a.zip")
    assert {item.key: contents.read(item, LIMIT) for item in found} == {"1.png": b"one", "2::3.png": b"two"}
    assert found[0].source == f"zip://x/1.png::file://{tmp_path}/a.zip"
    (item,) = listed(f"simplecache::file://{tmp_path}/a.zip")[:1]
    assert item.key == "x/1.png"


@pytest.mark.parametrize("url", ["reference://a::/tmp/x.json", "nonsense://x", "zip://a::/no/such.zip", "gs://b/x"])
def test_what_is_typed_and_cannot_be_opened_is_one_sentence(url):
    with pytest.raises(StorageError):
        listed(url)


def test_readable_names_are_injective_and_lead_back():
    names = [os.fsdecode(name) for name in ODD] + [r"\x", r"\\x41", r"\x4", "\udcff\\xff", r"\x5c", r"\X41"]
    assert len({readable(name) for name in names}) == len(names)
    assert [unreadable(readable(name)) for name in names] == names


def test_every_name_that_comes_again_gets_a_key_of_its_own():
    keys = Keys()
    found = [keys.own(name) for name in ("a", "a", "a#2", "a", "a#2", "a#2#2", "b")]
    assert [times for _, times in found] == [1, 2, 1, 3, 2, 1, 1]
    assert len({key for key, _ in found}) == 7


def test_members_of_one_name_beside_a_numbered_one_keep_their_own_rows(tmp_path):
    """The first of a name counts, the second is a duplicate, and a name that looks like its key is an input."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a", b"1"), ("a", b"2"), ("a#2", b"3")):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(data))
    found = listed(tmp_path / "a.tar")
    kinds = {item.key: item.problem.partition(":")[0] for item in found}
    assert kinds == {"a": "", "a#2": "duplicate-member", "a#2#2": ""}
    assert contents.read(found[2], LIMIT) == b"3"
    pq.write_table(pa.table({"key": ["a", "a", "a#2"], "image": [b"1", b"2", b"3"]}), tmp_path / "a.parquet")
    rows = listed(tmp_path / "a.parquet")
    assert len({item.key for item in rows}) == 3
    assert [contents.read(item, LIMIT) for item in rows] == [b"1", b"2", b"3"]


class FlatStore:
    """Lists keys as S3 does, those too that rclone can't hold: names are flat, and a slash may follow a slash."""

    protocol, version_aware, _fs_token = ("s3", "s3a"), False, ""

    def __init__(self, *keys):
        self.keys = sorted(keys)
        self.requests = 0

    def call_s3(self, _, Bucket, Prefix, Delimiter="", MaxKeys=1000):
        self.requests += 1
        below = [key for key in self.keys if key.startswith(Prefix)]
        cut = [key[len(Prefix) :].partition(Delimiter)[0] if Delimiter else "" for key in below]
        folders = {f"{Prefix}{part}/" for key, part in zip(below, cut, strict=True) if key != Prefix + part}
        files = [key for key, part in zip(below, cut, strict=True) if not Delimiter or key == Prefix + part]
        contents = [{"Key": key, "Size": 1, "ETag": f'"{key}"'} for key in files[:MaxKeys]]
        return {"Contents": contents, "CommonPrefixes": [{"Prefix": f} for f in sorted(folders)] if Delimiter else []}

    def exists(self, path):
        return True

    def isfile(self, path):
        return path.partition("/")[2] in self.keys

    def isdir(self, path):
        return any(key.startswith(f"{path.partition('/')[2]}/") for key in self.keys) and "index" not in path

    def unstrip_protocol(self, path):
        return f"s3://{path}"


@pytest.fixture
def flat_store(monkeypatch):
    def make(*keys):
        store = FlatStore(*keys)
        monkeypatch.setattr(storage, "filesystem", lambda url, **_: (store, url.removeprefix("s3://").rstrip("/")))
        return store

    return make


def test_two_objects_of_one_key_below_a_prefix_are_refused_before_work_starts(flat_store):
    flat_store("p/x.png", "p//x.png", "p/y.png")
    with pytest.raises(ClashError, match=r"key x\.png: s3://b/p//x\.png and s3://b/p/x\.png"):
        inventory(Source(urls=("s3://b/p",)))
    flat_store("p/x.png", "p//y.png", "q//x.png")
    assert [item.key for item in listed("s3://b/p")] == ["y.png", "x.png"]


def test_a_bucket_where_nothing_can_clash_is_listed_once(flat_store):
    store = flat_store(*(f"p/{n:04}.png" for n in range(900)))
    assert len(listed("s3://b/p")) == 900
    assert store.requests == 2  # whether anything lies below `p//`, and what lies below `p/`


def test_one_glob_over_two_tables_that_share_a_key_is_refused(tmp_path):
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("key,uri\nx,a.png\n")
    with pytest.raises(ClashError, match="two inputs have the key x"):
        listed(f"{tmp_path}/*.csv")
    assert ClashError("").exit_status == 2
