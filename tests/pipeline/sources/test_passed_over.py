"""What is left out of a listing: by one rule wherever files lie, and never without a count."""

import io
import os
import socket
import tarfile
import zipfile

import pytest

from recast.pipeline import storage
from recast.pipeline.sources import passed_over
from recast.pipeline.sources.inventory import Source, SourceIsOutputError, inventory
from recast.pipeline.sources.passed_over import PassedOver

NAMES = [
    *("a.png", "sub/b.jpg", "noending", "odd.bin", "scan.pdf", "._a.png", "sub/._b.jpg", ".DS_Store", "sub/.DS_Store"),
    *("Thumbs.db", "sub/THUMBS.DB", "desktop.ini", "__MACOSX/a.png", "pics/__MACOSX/sub/._b.jpg", "@eaDir/t.jpg"),
    *("a.json", "sub/b.txt", "c.xmp", "meta.csv", "readme.md", "x.html", "00.cls", "labels.csv.gz"),
]
TAKEN = ["a.png", "noending", "odd.bin", "scan.pdf", "sub/b.jpg"]
COUNTS = {"dropping": 10, ".json": 1, ".txt": 1, ".xmp": 1, ".csv": 2, ".md": 1, ".html": 1, ".cls": 1}


def listed(*urls, **options):
    over = PassedOver()
    found = [item.key for item in inventory(Source(urls=tuple(map(str, urls)), **options), over)]
    return found, dict(over.counts)


def write(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_droppings_and_sidecars_in_a_folder(tmp_path):
    write(tmp_path, NAMES)
    assert listed(tmp_path) == (TAKEN, COUNTS)


def test_droppings_and_sidecars_in_a_tar_and_a_zip(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar, zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name in NAMES:
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
            archive.writestr(name, b"x")
    for url in (tmp_path / "a.tar", tmp_path / "b.zip"):
        found, counts = listed(url)
        assert (sorted(found), counts) == (TAKEN, COUNTS)


def test_droppings_sidecars_and_folder_markers_in_an_object_store(bucket):
    fs, root = storage.filesystem(bucket)
    fs.pipe({f"{root}/p/{name}": b"x" for name in NAMES})
    for marker in ("p/folder_$folder$", "p/sub/other$"):
        fs.call_s3("put_object", Bucket=root, Key=marker, Body=b"")
    found, counts = listed(f"{bucket}/p")
    assert (found, counts) == (TAKEN, {**COUNTS, passed_over.MARKER: 2})


def test_links_and_special_files_are_counted(tmp_path):
    """Links to images are followed; links to folders, links to nothing and pipes are said."""
    source, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    write(elsewhere, ["x.png"])
    write(source, ["a.png"])
    (source / "folder").symlink_to(elsewhere)
    (source / "gone.png").symlink_to(tmp_path / "nothing.png")
    (source / "circle.png").symlink_to(source / "circle.png")
    (source / "good.png").symlink_to(elsewhere / "x.png")
    os.mkfifo(source / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(source / "socket.png"))
        counts = {passed_over.LINK_TO_FOLDER: 1, passed_over.DANGLING: 2, passed_over.SPECIAL: 2}
        assert listed(source) == (["a.png", "good.png"], counts)
    assert "1 links to folders" in passed_over.sentence(counts)


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """A folder in a folder, 1,200 times, with an image at the end; pytest itself could not remove it."""
    monkeypatch.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    open("a.png", "wb").close()
    yield tmp_path
    os.remove("a.png")
    for _ in range(1200):
        os.chdir("..")
        os.rmdir("d")


def test_folders_in_folders_are_no_recursion(deep):
    assert listed(deep)[0] == ["d/" * 1200 + "a.png"]


def test_an_output_of_another_job_inside_the_source_is_passed_over_and_said(tmp_path):
    shard = "0123456789abcdef0123-000"
    names = [f"old/shards/{shard}.tar", f"old/index/{shard}.parquet", "old/runs/20260101T000000-abcdef.json"]
    write(tmp_path, [*names, "index/a.png", "shards/b.png", "runs/c.png"])
    found, counts = listed(tmp_path)
    assert found == ["index/a.png", "runs/c.png", "shards/b.png"]
    assert counts == {passed_over.OUTPUT: 3}
    assert "give the output itself as SOURCE" in passed_over.sentence(counts)


def test_archives_inside_archives_and_behind_their_end_are_rows(tmp_path):
    first, second = tmp_path / "a.tar", tmp_path / "b.zip"
    with tarfile.open(first, "w") as tar:
        for name in ("a.png", "inner.zip", "more.tar.gz"):
            tar.addfile(tarfile.TarInfo(name))
    once = first.read_bytes()
    first.write_bytes(once + once)
    with zipfile.ZipFile(second, "w") as archive:
        for name in ("a.png", "inner.tar", "x.rar", "folder\\", "folder/"):
            archive.writestr(name, b"")
    kinds = {item.key: item.problem.partition(":")[0] for item in inventory(Source(urls=(str(first),)))}
    assert kinds == {"a.png": "", "inner.zip": "unsupported", "more.tar.gz": "unsupported", "a.tar": "truncated"}
    kinds = {item.key: item.problem.partition(":")[0] for item in inventory(Source(urls=(str(second),)))}
    assert kinds == {"a.png": "", "inner.tar": "unsupported", "x.rar": "unsupported"}


def test_a_broken_header_amid_a_tar_is_not_its_end(tmp_path):
    """The library takes it for the end, and members behind it would be lost without a word."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("a.png", "b.png", "c.png"):
            tar.addfile(tarfile.TarInfo(name))
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[512:522] = b"\xff" * 10
    (tmp_path / "a.tar").write_bytes(bytes(data))
    found = {item.key: item.problem.partition(":")[0] for item in inventory(Source(urls=(str(tmp_path / "a.tar"),)))}
    assert found == {"a.png": "", "a.tar": "truncated"}


@pytest.fixture
def same(tmp_path):
    write(tmp_path / "same", ["a.png", "sub/b.png", "out/shards/0123456789abcdef0123-000.tar", "out/c.png"])
    (tmp_path / "link").symlink_to(tmp_path / "same")
    (tmp_path / "linkout").symlink_to(tmp_path / "same/out")
    return tmp_path


@pytest.mark.parametrize(("source", "output"), [
    ("same", "same"), ("same/", "same"), ("same", "same/."), ("link", "same"), ("same", "link"),
    ("file://{}/same", "same"), ("same/sub/../", "link/"), ("same/*.png", "same"), ("same/*/*", "link"),
    ("same/out/shards", "same/out"), ("same/out/shards/*.tar", "linkout"),
])  # fmt: skip
def test_a_source_that_is_the_output_is_refused(same, source, output):
    url = source.format(same) if "://" in source else f"{same}/{source}"
    with pytest.raises(SourceIsOutputError, match="choose another output"):
        inventory(Source(urls=(url,), skip=f"{same}/{output}"))
    with pytest.raises(SourceIsOutputError):
        inventory(Source(urls=(f"{same}/same/sub", url), skip=f"{same}/{output}"))
    assert SourceIsOutputError("").exit_status == 2


@pytest.mark.parametrize(("source", "output"), [
    ("s3://{}/p", "s3://{}/p/"), ("s3://{}/p/", "s3a://{}/p"), ("s3://{}/p/*", "s3://{}/p"), ("s3a://{}", "s3://{}/"),
])  # fmt: skip
def test_a_prefix_that_is_the_output_is_refused(bucket, source, output):
    name = bucket.removeprefix("s3://")
    with pytest.raises(SourceIsOutputError):
        inventory(Source(urls=(source.format(name),), skip=output.format(name)))


@pytest.mark.parametrize("output", ["same/out", "linkout", "link/out/"])
@pytest.mark.parametrize("source", ["same", "link", "file://{}/link/", "same/**"])
def test_an_output_inside_the_source_is_left_out_through_links_too(same, source, output):
    url = source.format(same) if "://" in source else f"{same}/{source}"
    assert listed(url, skip=f"{same}/{output}")[0] == ["a.png", "sub/b.png"]


def test_a_source_inside_the_output_stays_one(same):
    """Results beside a folder of inputs: nothing of the output is read."""
    assert listed(same / "same/sub", skip=str(same / "same"))[0] == ["b.png"]
    assert listed(same / "same/sub/b.png", skip=str(same / "same"))[0] == ["b.png"]
