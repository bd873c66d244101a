"""The file-system view: any tool that reads through fsspec reads images out of shards."""

import io

import fsspec
import pytest
from PIL import Image

from recast.pipeline import storage
from recast.pipeline.output.file_names import path_of
from recast.pipeline.output.view import OutputFileSystem
from tests.pipeline.output.test_compaction import Made, image


@pytest.fixture
def made(tmp_path):
    output = Made(tmp_path / "out")
    output.add({"a.png": image(1), "sub/b.jpg": image(2), "sub/deep/c.png": image(3), "bad.png": None})
    return output


@pytest.mark.parametrize(("key", "format", "path"), [
    ("a.png", "png", "a.png"), ("a.PNG", "png", "a.PNG"), ("a.jpg", "png", "a.jpg.png"), ("a.jpeg", "jpeg", "a.jpeg"),
    ("a.png", "jpeg", "a.png.jpg"), ("sub/no ending", "webp", "sub/no ending.webp"),
])  # fmt: skip
def test_paths_end_as_their_format_asks(key, format, path):
    assert path_of(key, format) == path


def test_it_lists_finds_and_reads_like_a_folder(made):
    view = OutputFileSystem(str(made.folder))
    assert view.find("") == ["a.png", "sub/b.jpg.png", "sub/deep/c.png"]
    assert view.ls("sub", detail=False) == ["sub/b.jpg.png", "sub/deep"]
    assert view.glob("sub/**/*.png") == ["sub/b.jpg.png", "sub/deep/c.png"]
    assert view.cat_file("a.png") == image(1)
    assert view.cat_file("a.png", start=5, end=9) == image(1)[5:9]
    assert view.cat_file("a.png", start=-4) == image(1)[-4:]
    assert view.size("sub/b.jpg.png") == 200
    with view.open("sub/deep/c.png") as file:
        assert file.read() == image(3)
    for missing in ("bad.png", "sub/none.png"):
        with pytest.raises(FileNotFoundError):
            view.cat_file(missing)
    with pytest.raises(io.UnsupportedOperation):
        view.open("new.png", "wb")


def test_it_opens_by_url_from_object_storage(bucket):
    """`recast://` chained with the output's own URL, as fsspec has it."""
    made = Made.__new__(Made)
    made.fs, made.root = storage.filesystem(f"{bucket}/out")
    made.folder, made.container = None, "tar"
    made.add({"sub/a.png": image(1)})
    with fsspec.open(f"recast://sub/a.png::{bucket}/out") as file:
        assert file.read() == image(1)
    view = fsspec.filesystem("recast", fo=f"{bucket}/out")
    assert view.find("") == ["sub/a.png"]


def test_two_keys_for_one_path_stay_two_images(tmp_path):
    made = Made(tmp_path / "out")
    made.add({"a.jpg": image(1), "a.jpg.png": image(2)})
    view = OutputFileSystem(str(made.folder))
    assert {view.cat_file(path) for path in view.find("")} == {image(1), image(2)}


def test_pillow_reads_through_it(tmp_path):
    png = tmp_path / "x.png"
    Image.new("RGB", (5, 3)).save(png)
    made = Made(tmp_path / "out")
    made.add({"x.png": png.read_bytes()})
    with OutputFileSystem(str(made.folder)).open("x.png") as file:
        assert Image.open(file).size == (5, 3)
