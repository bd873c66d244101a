"""Reads are bounded before they are made: small files that claim or become a great deal cost little memory and time."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recast.pipeline import storage
from recast.pipeline.bulk.units import pack_unit
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import contents, parquet
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.inventory import Source, inventory

LIMIT = 1 << 20
LARGE = 128 << 20
"""Bytes that a bomb here becomes where nothing stops it."""
MOST_TAKEN = 80 << 20
"""Memory that all of them together may take beyond what the process has when it begins."""
MANY = 70_000

READS_ALL = f"""
import json, resource, sys
import pyarrow.compute
from recast.pipeline.sources import contents
from recast.pipeline.input_errors import InputError
from recast.pipeline.sources.inventory import Source, inventory
from recast.pipeline.storage import StorageError

def outcome(item):
    try:
        return f"read {{len(contents.read(item, {LIMIT}))}}"
    except InputError as fault:
        return str(fault)

def outcomes(path):
    try:
        return [outcome(item) for item, _ in zip(inventory(Source(urls=(path,))), range(3))]
    except StorageError as fault:
        return [f"refused: {{fault}}"]

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = {{path: outcomes(path) for path in sys.argv[1:]}}
print(json.dumps([found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    """The bombs, and what comes of each in one process; its memory is looked at afterwards."""
    folder = tmp_path_factory.mktemp("bombs")
    for make in (parquet_row, lying_parquet, parquet_names, long_names, endless_headers, circle,
                 sparse_map, zip_directory):  # fmt: skip
        make(folder)
    command = [sys.executable, "-c", READS_ALL, *sorted(map(str, folder.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found, taken_kib = json.loads(done.stdout)
    assert taken_kib << 10 < MOST_TAKEN
    return {os.path.basename(path): outcomes for path, outcomes in found.items()}


def kinds(outcomes):
    return [outcome.partition(":")[0] for outcome in outcomes]


def parquet_row(folder):
    table = pa.table({"image": [bytes(LARGE)]})
    pq.write_table(table, folder / "row.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    assert (folder / "row.parquet").stat().st_size < 1 << 16


def lying_parquet(folder):
    whole = (folder / "row.parquet").read_bytes()
    true = pq.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(0).total_uncompressed_size
    (folder / "lying.parquet").write_bytes(whole.replace(_varint(true), _varint(5000, len(_varint(true)))))
    said = pq.ParquetFile(folder / "lying.parquet").metadata.row_group(0).column(0).total_uncompressed_size
    assert said == 5000


def parquet_names(folder):
    for name, column in (("name.parquet", {"image": [b"x"]}), ("uri.parquet", {})):
        table = pa.table({**column, ("key" if column else "uri"): ["n" * LARGE]})
        pq.write_table(table, folder / name, compression="zstd", use_dictionary=False, write_statistics=False)


def long_names(folder):
    for name, kind in (("L", tarfile.GNUTYPE_LONGNAME), ("x", tarfile.XHDTYPE), ("g", tarfile.XGLTYPE)):
        long = tarfile.TarInfo("long")
        long.type, long.size = kind, 3 << 30
        with gzip.open(folder / f"{name}.tar.gz", "wb", 1) as file:
            file.write(tarfile.TarInfo("a.png").tobuf() + long.tobuf(format=tarfile.GNU_FORMAT))
            for _ in range(2):
                file.write(b"n" * (1 << 22))


def endless_headers(folder):
    long = tarfile.TarInfo("long")
    long.type = tarfile.GNUTYPE_LONGNAME
    (folder / "headers.tar").write_bytes(tarfile.TarInfo("a.png").tobuf() + long.tobuf() * 5000)


def circle(folder):
    with tarfile.open(folder / "circle.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
        back = tarfile.TarInfo("b.png")
        back.pax_headers = {"size": "-1024"}
        tar.addfile(back)


def sparse_map(folder):
    sparse = tarfile.TarInfo("s.png")
    sparse.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(sparse.tobuf(format=tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = b"00000000001\0" * 42 + b"\1" + bytes(7)
    with gzip.open(folder / "sparse.tar.gz", "wb", 1) as file:
        file.write(tarfile.TarInfo("a.png").tobuf() + bytes(header) + more * 40_000)


def zip_directory(folder):
    """Members of one local header, which no file could be told from in the standard library without much memory."""
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    directory = b"".join(record + b"%08d" % n for n in range(MANY))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, MANY & 0xFFFF, MANY & 0xFFFF, len(directory), 0, 0)
    (folder / "directory.zip").write_bytes(directory + end)


def test_a_parquet_row_that_unpacks_to_a_great_deal_is_refused_before_it_is_unpacked(bombs):
    assert kinds(bombs["row.parquet"]) == ["too-large"]


def test_a_parquet_file_whose_metadata_lie_is_refused_by_its_pages(bombs):
    """The footer says a few bytes; the page's own header, by which Arrow allocates, tells the truth."""
    assert kinds(bombs["lying.parquet"]) == ["too-large"]


def test_a_row_group_that_may_unpack_to_a_great_deal_is_read_in_pieces(tmp_path, monkeypatch):
    """A dictionary of few large values for many rows takes little room in the file, and would take much as rows."""
    monkeypatch.setattr(parquet, "HELD_BYTES", 1 << 20)
    monkeypatch.setattr(parquet, "PIECE_BYTES", 1 << 18)
    images = [bytes([n % 3]) * 50_000 for n in range(100)]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 1 << 13
    items = list(inventory(Source(urls=(str(tmp_path / "a.parquet"),))))
    held = parquet._Pieces.value
    lengths = []
    monkeypatch.setattr(
        parquet._Pieces, "value", lambda self, row: (held(self, row), lengths.append(len(self._held[-1][1])))[0]
    )
    assert [contents.read(item, LIMIT) for item in items] == images
    assert [contents.read(items[n], LIMIT) for n in (99, 0, 50)] == [images[n] for n in (99, 0, 50)]
    assert max(lengths) <= 3


@pytest.mark.parametrize("name", ["name.parquet", "uri.parquet"])
def test_a_parquet_name_of_many_megabytes_is_refused(bombs, name):
    (said,) = bombs[name]
    assert said.startswith("refused")
    assert "some value unpacks to" in said


@pytest.mark.parametrize("kind", "Lxg")
def test_a_tar_with_a_name_of_three_gigabytes_is_accounted_for(bombs, kind):
    read, damaged = bombs[f"{kind}.tar.gz"]
    assert read == "read 0"
    assert damaged.startswith("truncated: the tar archive can't be read on: a header of 3,221,225,472 bytes")


@pytest.mark.parametrize("name", ["headers.tar", "circle.tar", "sparse.tar.gz"])
def test_headers_without_an_end_are_accounted_for(bombs, name):
    """Names for names, a size that leads back, a map of more pieces than files have."""
    assert kinds(bombs[name]) == ["read 0", "truncated"]


def test_a_zip_directory_of_many_entries_is_read_one_by_one(bombs, tmp_path):
    assert kinds(bombs["directory.zip"]) == ["corrupt"] * 3
    zip_directory(tmp_path)
    assert sum(1 for _ in inventory(Source(urls=(str(tmp_path / "directory.zip"),)))) == MANY


def _varint(number, length=0):
    """A number as Thrift writes it, with zeros behind it up to a length."""
    number, found = number << 1, bytearray()
    while number > 127 or len(found) + 1 < length:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


@pytest.mark.parametrize("size", [(1 << 63) + 5, (1 << 64) - 2, 1 << 62, 1 << 40])
def test_sizes_of_64_bits_that_no_file_has_are_failed_rows(tmp_path, size):
    """They fit no column of a unit's table, and no memory."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", b"12345")
    data = (tmp_path / "a.zip").read_bytes()
    where = data.index(b"PK\1\2")
    wide = struct.pack("<HHQQ", 1, 16, size, size)
    record = bytearray(data[where : data.index(b"PK\5\6")])
    record[20:28] = b"\xff" * 8
    record[30:32] = struct.pack("<H", len(wide))
    end = bytearray(data[data.index(b"PK\5\6") :])
    end[12:16] = struct.pack("<L", len(record) + len(wide))
    (tmp_path / "a.zip").write_bytes(data[:where] + bytes(record) + wide + bytes(end))
    items = list(inventory(Source(urls=(str(tmp_path / "a.zip"),))))
    assert pack_unit(items).num_rows == 1
    with pytest.raises(InputError, match="corrupt|truncated"):
        contents.read(items[0], LIMIT)


def test_a_file_that_grows_after_its_listing_is_read_no_further_than_the_limit(tmp_path, bucket):
    (tmp_path / "a.png").write_bytes(b"x")
    (item,) = inventory(Source(urls=(str(tmp_path),)))
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="too-large"):
        contents.read(item, LIMIT)
    fs, root = storage.filesystem(bucket)
    fs.pipe_file(f"{root}/a.png", b"x")
    (item,) = inventory(Source(urls=(bucket,)))
    fs.pipe_file(f"{root}/a.png", b"y" * (LIMIT + 10))
    with pytest.raises(InputError, match="too-large"):
        contents.read(item, LIMIT)
    fs.pipe_file(f"{root}/a.png", b"yy")
    assert contents.read(item, LIMIT) == b"yy"


def test_what_has_no_end_is_not_begun(tmp_path):
    """A pipe put in the place of a listed file, /dev/zero and a folder: at once, and failed for good."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for path in ("pipe.png", "zero.png", ""):
        item = Input(key="x", source="x", fingerprint="x", container=os.fsencode(tmp_path / path))
        with pytest.raises(InputError, match="not-a-file"):
            contents.read(item, LIMIT)


def test_a_fetch_that_fails_for_any_reason_is_a_fault_or_left_for_later(tmp_path, monkeypatch):
    """What is no storage's exception is the input's; what a storage library raises is tried again."""
    (tmp_path / "a.png").write_bytes(b"x")
    (item,) = inventory(Source(urls=(str(tmp_path),)))
    for fault, kind in ((TypeError("x"), "unreadable"), (MemoryError(), "too-large"), (KeyError("x"), "unreadable")):
        monkeypatch.setattr(storage, "read_up_to", _raising(fault))
        with pytest.raises(InputError, match=kind):
            contents.read(item, LIMIT)
    for fault in (PermissionError(13, "no"), TimeoutError(), ConnectionResetError()):
        monkeypatch.setattr(storage, "read_up_to", _raising(fault))
        with pytest.raises(type(fault)):
            contents.read(item, LIMIT)


def _raising(fault):
    def read(*_):
        raise fault

    return read
