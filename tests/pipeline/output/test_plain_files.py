"""Results as plain files: put where nothing lies, over what dead runs left, and over nobody else's; safe names."""

import errno
import os
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.output import plain_files
from recast.pipeline.output.file_names import UNSAFE, all_safe, keys_of, name_problem, path_of
from recast.pipeline.output.lease import LeaseError

MAY = lambda: None  # noqa: E731  # a run that holds its lease


def may_not() -> None:
    raise LeaseError("taken over")


def put(folder, member, data=b"new", confirm=MAY):
    plain_files.create(*storage.filesystem(str(folder)), member, data, confirm)


def below(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_created_in_its_folder_and_nothing_else_is_left(tmp_path):
    put(tmp_path, "a/b/c.png", confirm=may_not)  # where nothing lies nobody need be asked
    assert below(tmp_path) == {"a/b/c.png": b"new"}


def test_what_a_dead_run_left_is_written_over_once_the_lease_was_looked_at(tmp_path):
    put(tmp_path, "a.png", b"left")
    with pytest.raises(LeaseError, match="taken over"):
        put(tmp_path, "a.png", confirm=may_not)
    assert below(tmp_path) == {"a.png": b"left"}
    put(tmp_path, "a.png")
    assert below(tmp_path) == {"a.png": b"new"}


def test_what_another_run_wrote_meanwhile_stays(tmp_path):
    """This one saw what a dead run left, was found to hold the lease, and stood still while another took it."""
    put(tmp_path, "a.png", b"left")

    def overtaken():
        (tmp_path / "a.png").unlink()
        (tmp_path / "a.png").write_bytes(b"another's")

    with pytest.raises(LeaseError, match="another run has written"):
        put(tmp_path, "a.png", confirm=overtaken)
    assert below(tmp_path) == {"a.png": b"another's"}


def test_a_file_in_the_place_of_a_folder_gives_way_and_so_does_an_empty_folder(tmp_path):
    put(tmp_path, "a.png", b"left")
    put(tmp_path, "a.png/b.png")
    (tmp_path / "c.png").mkdir()
    put(tmp_path, "c.png")
    assert below(tmp_path) == {"a.png/b.png": b"new", "c.png": b"new"}


def test_disks_without_links_do_too(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    put(tmp_path, "a.png", b"left")
    put(tmp_path, "a.png")
    assert below(tmp_path) == {"a.png": b"new"}


def test_on_object_storage_too(bucket):
    fs, folder = storage.filesystem(f"{bucket}/out/files")
    for data in (b"left", b"new"):
        plain_files.create(fs, folder, "a/b.png", data, MAY)
    assert fs.cat_file(f"{folder}/a/b.png") == b"new"
    output = folder.removesuffix("/files")
    assert list(plain_files.listed(fs, output)) == [("a/b.png", 3)]
    plain_files.begin(fs, output, named=True)
    assert list(plain_files.unnamed(fs, output, np.empty(0, np.uint64))) == [["a/b.png"]]
    plain_files.remove(fs, output, ["a/b.png"])
    assert list(plain_files.listed(fs, output)) == []


def test_a_folder_that_no_run_made_is_refused_and_left_alone(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/mine.png").write_bytes(b"mine")
    fs, output = storage.filesystem(str(tmp_path))
    with pytest.raises(plain_files.ForeignFilesError, match="Recast did not write"):
        plain_files.begin(fs, output, named=False)
    assert list(plain_files.unnamed(fs, output, np.empty(0, np.uint64))) == []
    assert below(tmp_path) == {"files/mine.png": b"mine"}


def test_removing_leaves_no_empty_folders(tmp_path):
    fs, output = storage.filesystem(str(tmp_path))
    for name in ("a/b/c.png", "a/d.png"):
        put(tmp_path / "files", name)
    assert plain_files.remove(fs, output, ["a/b/c.png", "never.png"]) == 2
    assert sorted(path.name for path in (tmp_path / "files").rglob("*")) == ["a", "d.png"]


@pytest.mark.parametrize("path", [
    "", "/a.png", "a//b.png", "a/", "./a.png", "a/./b.png", "../a.png", "a/../../b.png", "..\\a.png", "a\\..\\b.png",
    "a\n.png", "a\0.png", "\x7f.png", "a.png?versionId=1.png",
])  # fmt: skip
def test_paths_that_may_lead_elsewhere_are_unsafe(path):
    assert name_problem(path, "out/files").startswith("unsafe-name: ")
    assert not all_safe(pa.chunked_array([[path]]))


@pytest.mark.parametrize("path", ["a.png", "…/a b.png", "a/.hidden.png", "caf\\xe9.png", "..a/b...png", "a::b#?.png"])
def test_other_paths_are_not(path):
    assert name_problem(path, "out/files") == ""
    assert all_safe(pa.chunked_array([[path]]))


@pytest.mark.parametrize("path", ["a" * 252 + ".png", "é" * 126 + ".png", "/".join(["a" * 200] * 6)])
def test_names_longer_than_storage_holds_are_told(path):
    assert name_problem(path, "out/files").startswith("name-too-long: ")


@given(st.text(st.characters(codec="utf-8"), max_size=8) | st.text("./\\a\n", max_size=8))
@example("a\n")
def test_what_is_read_is_checked_as_what_is_written(path):
    """Python's and Arrow's regular expressions mean the same."""
    assert all_safe(pa.chunked_array([[path]])) == (re.search(UNSAFE, path) is None)


@pytest.mark.parametrize(("path", "format", "keys"), [
    ("a.jpg.png", "png", ("a.jpg.png", "a.jpg")), ("a.png", "png", ("a.png", "a")), ("a.jpeg", "jpeg", ("a.jpeg",)),
    ("a.jpeg.jpg", "jpeg", ("a.jpeg.jpg",)),
])  # fmt: skip
def test_the_keys_of_a_path_are_those_whose_results_it_is(path, format, keys):
    assert keys_of(path, format) == keys
    assert {path_of(key, format) for key in keys} == {path}
