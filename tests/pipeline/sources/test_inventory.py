"""Sources: what counts as an input, what it is called, and that its bytes are found again."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline.input_errors import InputError
from recast.pipeline.sources import contents
from recast.pipeline.sources.inventory import Source, inventory, read_sources
from recast.pipeline.storage import StorageError

LIMIT = 1 << 20


def listed(url, **options):
    return list(inventory(Source(urls=(str(url),), **options)))


def keys(url, **options):
    return [item.key for item in listed(url, **options)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name in ("b.jpg", "a.png", "sub/c d.png", "sub/ü.webp", "a.jpg", ".DS_Store", "notes.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def test_folder_gives_every_file_in_order_by_relative_path(folder):
    assert keys(folder) == ["a.jpg", "a.png", "b.jpg", "sub/c d.png", "sub/ü.webp"]


def test_every_listed_input_reads_back_its_own_bytes(folder):
    for item in listed(folder):
        assert contents.read(item, LIMIT) == item.key.encode()
        assert dict(read_sources([item.source])) == {item.source: item.key.encode()}


def test_include_and_exclude_are_globs_over_keys(folder):
    assert keys(folder, include=("*.png",)) == ["a.png", "sub/c d.png"]
    assert keys(folder, include=("*.png",), exclude=("sub/*",)) == ["a.png"]


def test_an_output_inside_the_source_is_no_input(folder):
    (folder / "out/shards").mkdir(parents=True)
    (folder / "out/shards/x.tar").write_bytes(b"x")
    assert "out/shards/x.tar" not in keys(folder, skip=str(folder / "out"))


def test_glob_keys_are_relative_to_the_fixed_part(folder):
    assert keys(f"{folder}/sub/*.png") == ["c d.png"]
    assert keys(f"{folder}/*/*.png") == ["sub/c d.png"]


def test_one_file_is_a_source(folder):
    assert keys(folder / "b.jpg") == ["b.jpg"]


def test_changed_content_changes_the_fingerprint(folder):
    before = {item.key: item.fingerprint for item in listed(folder)}
    (folder / "a.png").write_bytes(b"other")
    after = {item.key: item.fingerprint for item in listed(folder)}
    assert {k for k in before if before[k] != after[k]} == {"a.png"}


def test_file_and_folder_listings_agree_on_the_fingerprint(folder):
    (alone,) = listed(folder / "b.jpg")
    assert alone.fingerprint in {item.fingerprint for item in listed(folder)}


def test_names_that_are_not_utf8_stay_distinct_and_readable(tmp_path):
    for name in (b"\xff.png", b"\xfe.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(name)
    found = listed(tmp_path)
    assert len({item.key for item in found}) == 2
    assert {contents.read(item, LIMIT) for item in found} == {b"\xff.png", b"\xfe.png"}
    for item in found:
        item.key.encode("utf-8")


@pytest.mark.parametrize("url", ["/no/such/place", "nothing-*.png"])
def test_no_such_source_is_one_sentence(url):
    with pytest.raises(StorageError, match=r"nothing at|no file matches"):
        listed(url)


def tar_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            data = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_tar_members_are_read_where_they_lie(tmp_path):
    path = tar_of(tmp_path / "a.tar", ("./x/1.png", b"one"), ("2.png", b"two" * 400))
    found = {item.key: contents.read(item, LIMIT) for item in listed(path)}
    assert found == {"x/1.png": b"one", "2.png": b"two" * 400}
    read_back = dict(read_sources([item.source for item in listed(path)]))
    assert sorted(read_back.values()) == sorted(found.values())


def test_dangerous_tar_members_carry_their_problem(tmp_path):
    device = tarfile.TarInfo("dev.png")
    device.type = tarfile.CHRTYPE
    path = tar_of(
        tmp_path / "a.tar",
        ("../evil.png", b"x"),
        ("/abs.png", b"x"),
        ("good.png", b"good"),
        ("good.png", b"again"),
        link("sym.png", tarfile.SYMTYPE, "/etc/passwd"),
        link("hard.png", tarfile.LNKTYPE, "good.png"),
        device,
    )
    kinds = {item.key: item.problem.partition(":")[0] for item in listed(path)}
    assert kinds == {
        "../evil.png": "unsafe-name",
        "/abs.png": "unsafe-name",
        "good.png": "",
        "good.png#2": "duplicate-member",
        "sym.png": "not-a-file",
        "hard.png": "not-a-file",
        "dev.png": "not-a-file",
    }
    with pytest.raises(InputError, match="unsafe-name"):
        contents.read(listed(path)[0], LIMIT)


def test_a_tar_cut_short_gives_what_it_holds_and_accounts_for_the_rest(tmp_path):
    path = tar_of(tmp_path / "a.tar", ("1.png", b"1" * 700), ("2.png", b"2" * 5000))
    path.write_bytes(path.read_bytes()[: 512 + 1024 + 512 + 900])
    found = listed(path)
    assert contents.read(found[0], LIMIT) == b"1" * 700
    assert any(item.problem.startswith("truncated") for item in found[1:])


def test_a_file_that_is_no_tar_is_one_sentence(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"nonsense" * 200)
    with pytest.raises(StorageError, match="not a readable tar"):
        listed(tmp_path / "a.tar")


@pytest.mark.parametrize("layout", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_members_are_read_where_they_lie(tmp_path, layout):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", layout) as archive:
        archive.writestr("x/1.png", b"one" * 1000)
        archive.writestr("empty.png", b"")
        archive.writestr("../evil.png", b"x")
    found = listed(tmp_path / "a.zip")
    assert [item.problem.partition(":")[0] for item in found] == ["", "", "unsafe-name"]
    assert contents.read(found[0], LIMIT) == b"one" * 1000
    assert contents.read(found[1], LIMIT) == b""


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * (LIMIT + 1))
    with pytest.raises(InputError, match="too-large"):
        contents.read(listed(tmp_path / "a.zip")[0], LIMIT)


def test_a_zip_member_that_holds_more_than_it_declares_is_corrupt(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("liar.png", b"\0" * 5000)
    data = path.read_bytes()
    path.write_bytes(data.replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(InputError, match="corrupt"):
        contents.read(listed(path)[0], LIMIT)


def test_several_archives_are_told_apart_by_their_names(tmp_path):
    tar_of(tmp_path / "a.tar", ("1.png", b"a"))
    tar_of(tmp_path / "b.tar", ("1.png", b"b"))
    assert keys(f"{tmp_path}/*.tar") == ["a.tar/1.png", "b.tar/1.png"]
    assert keys(tmp_path) == ["a.tar/1.png", "b.tar/1.png"]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, 4000), st.binary(min_size=1, max_size=40))
def test_mutated_tars_never_crash_and_never_lead_outside(tmp_path_factory, content, place, noise):
    path = tar_of(tmp_path_factory.mktemp("fuzz") / "a.tar", ("a.png", content), ("b/c.png", content[::-1]))
    data = bytearray(path.read_bytes())
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
            assert fault.kind in {"unsafe-name", "not-a-file", "duplicate-member", "truncated", "too-large"}
