"""What a report may open: sources of one's own runs or such as one vouches for, and no original that is hidden."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.jobs import cli, exit_status
from recast.pipeline import report, storage, witness
from recast.pipeline.output import index
from recast.pipeline.output.rows import table
from recast.pipeline.report.output import Output
from recast.pipeline.report.provenance import is_inside, is_secretive
from tests.pipeline.report.outputs import bulk, facade, manifest, png, row
from tests.pipeline.report.test_report import Page


@pytest.fixture(autouse=True)
def own_key(tmp_path, monkeypatch):
    """A key of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def befores(page: str) -> list[str]:
    return [alt for alt in Page(page).values("alt") if alt.startswith("Before:")]


def photo(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.fixture
def own(tmp_path, worker_here):
    """An output of one's own run over one photograph."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(png(photo()))
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    return tmp_path / "out"


def test_ones_own_runs_show_their_sources(own, tmp_path):
    """On the machine they ran on, at the place they were written to; elsewhere where the person says the source is."""
    assert befores(report.render(str(own))) == ["Before: a.png"]
    own.rename(tmp_path / "moved")
    page = report.render(str(tmp_path / "moved"))
    assert befores(page) == []
    assert "no run of yours on this machine" in Page(page).text
    assert befores(report.render(str(tmp_path / "moved"), str(tmp_path / "in"))) == ["Before: a.png"]
    assert befores(report.render(str(tmp_path / "moved"), str(tmp_path / "elsewhere"))) == []
    (tmp_path / "state" / "recast" / "witness.key").unlink()
    (tmp_path / "moved").rename(own)
    assert befores(report.render(str(own))) == []


@pytest.fixture
def requests():
    """A server that keeps what is asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_strangers_output_opens_no_file_and_no_address(tmp_path, requests):
    """Whatever its rows name as their source, and whatever its manifest claims of them."""
    url, asked = requests
    secret = tmp_path / "secret" / "me.png"
    secret.parent.mkdir()
    secret.write_bytes(png(photo(1)))
    sources = [
        f"file://{secret}", f"{url}/a.png", f"simplecache::{url}/b.png", f"zip://x::{url}/c.zip",
        f"tar://me.png::file://{tmp_path}/secret.tar", f"range://0+{secret.stat().st_size}::file://{secret}",
        f"reference://a.png::{url}/d.json",
    ]  # fmt: skip
    bulk(tmp_path / "out", tmp_path / "in", {f"{n}.png": (photo(), photo()) for n in range(len(sources))}, [])
    (fragment,) = (tmp_path / "out" / "index").glob("*.parquet")
    rows = pq.ParquetFile(fragment).read()
    rows = rows.set_column(rows.column_names.index("source"), rows.schema.field("source"), [sources])
    pq.write_table(rows, fragment)
    forged = {"spec": {"source": {"urls": [str(secret.parent), url]}}, "source": str(secret.parent)}
    for number, mark in enumerate([None, "", "0" * 64, 5, {"a": 1}]):
        manifest(tmp_path / "out", f"2026{number}", witness=mark, **forged)
    assert befores(report.render(str(tmp_path / "out"))) == []
    assert asked == []
    assert befores(report.render(str(tmp_path / "out"), str(tmp_path / "in"))) == []
    assert asked == []


def test_a_row_of_ones_own_output_leads_nowhere_else(own, tmp_path):
    """A changed index shows nothing from outside of the source that the run was given."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(photo()))
    (fragment,) = (own / "index").glob("*.parquet")
    rows = pq.ParquetFile(fragment).read()
    for source in (f"file://{secret}", f"file://{tmp_path}/in/../secret.png"):
        changed = rows.set_column(rows.column_names.index("source"), rows.schema.field("source"), [[source]])
        pq.write_table(changed, fragment)
        assert befores(report.render(str(own))) == []


def test_a_manifest_that_was_changed_is_nobodys(own, tmp_path):
    """Its source made larger, its output another: the mark no longer fits."""
    (path,) = (own / "runs").glob("*.json")
    said = json.loads(path.read_text())
    source = said["spec"]["source"]
    for change in (
        {"output": str(tmp_path / "x")},
        {"run": "r"},
        {"spec": {"source": {**source, "urls": [str(tmp_path)]}}},
    ):
        path.write_text(json.dumps({**said, **change}))
        assert befores(report.render(str(own))) == []
    path.write_text(json.dumps(said))
    assert befores(report.render(str(own))) == ["Before: a.png"]


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("file:///p/a.png", True), ("file:///p", True), ("tar://a::file:///p/x.tar", True),
        ("zip://a::file:///p", True), ("range://0+5::file:///p/x.parquet", True), ("file:///pp/a.png", False),
        ("file:///p/../a.png", False), ("s3://p/a.png", False), ("zip://a::simplecache::file:///p/x", False),
        ("simplecache::file:///p/a", False), ("tar://a::b.png::file:///p/x", False), ("", False), ("tar://a", False),
        ("file:///p/a\0b", False), ("hmac:0f", False), ("blockcache://a::file:///p/x", False),
    ],
)  # fmt: skip
def test_only_plain_files_below_a_place_are_inside_it(source, inside):
    assert is_inside(source, ["file:///p"]) is inside
    assert not is_inside(source, [])


def test_a_key_that_cannot_be_kept_marks_nothing(tmp_path, monkeypatch):
    """Without a place for the key nothing counts as one's own, and no run fails for it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert witness.mark("r", "/out", ["/in"]) == ""
    assert not witness.is_own("", "r", "/out", ["/in"])


SIGNS = {
    "an older manifest": lambda out: manifest(out, "20250101", job="deidentify", finished_at="2025-01-01T00:00:00Z"),
    "an unreadable manifest": lambda out: (out / "runs" / "x.json").write_text("{"),
    "the index's metadata": lambda out: fragment(out, {"recast.settings": json.dumps({"job": "deidentify"})}),
    "a row's regions": lambda out: fragment(
        out, {}, regions=[{"kind": "face", "box": [0, 0, 1, 1], "action": "solid"}]
    ),
    "a damaged fragment": lambda out: (out / "index" / "x.parquet").write_bytes(b"PAR1"),
    "an odd fragment": lambda out: fragment(out, {"recast.settings": "{"}),
}


def fragment(out, about, **fields):
    fs, root = storage.filesystem(str(out))
    rows = [row("z.png", "file:///z.png", status="failed", error="odd: no", **fields)]
    index.write_fragment(fs, root, "0002.tar", table(rows, about))


@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
def test_any_sign_of_a_deidentification_hides_the_originals(sign, tmp_path):
    """Though the newest manifest is of another job, and though the person names the source."""
    bulk(tmp_path / "out", tmp_path / "in", {"a.png": (facade(1, 32, plain=True), facade(1, 64, plain=False))}, [])
    manifest(tmp_path / "out", job="upscale", finished_at="2026-12-01T00:00:00Z")
    assert not is_secretive(Output.at(str(tmp_path / "out")))
    assert befores(report.render(str(tmp_path / "out"), str(tmp_path / "in"))) == ["Before: a.png"]
    sign(tmp_path / "out")
    page = report.render(str(tmp_path / "out"), str(tmp_path / "in"))
    assert befores(page) == []
    assert "left out on purpose" in Page(page).text


def test_an_interrupted_replacement_by_a_deidentification_shows_no_original(own, tmp_path, worker_here, monkeypatch):
    """One's own finished upscaling, and over it a de-identification that ended before its manifest."""
    assert befores(report.render(str(own))) == ["Before: a.png"]
    (tmp_path / "boxes.json").write_text(json.dumps({"a.png": [{"box": [1, 1, 9, 9]}]}))

    def ends(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("recast.pipeline.bulk.road.collect_garbage", ends)
        how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json"), "--replace"]
        assert cli._status(["deidentify", str(tmp_path / "in"), str(own), *how]) == exit_status.INTERRUPTED
    assert len(list((own / "runs").glob("*.json"))) == 1
    assert befores(report.render(str(own))) == []
    assert befores(report.render(str(own), str(tmp_path / "in"))) == []


def test_control_characters_are_shown_as_escapes(tmp_path):
    """Keys, errors and manifests of strangers put no raw escape and no turned writing into a page."""
    key, error = "a\x1b[31m\u202egnp.png", "odd: \x07bell\x9b and \x00 more"
    bad = [row(f"b{key}", "x", status="failed", error=error)]
    bulk(tmp_path / "out", tmp_path / "in", {key: (photo(), photo())}, bad)
    manifest(tmp_path / "out", model={"name": "x\x1b]0;title\x07"})
    page = report.render(str(tmp_path / "out"))
    assert not {c for c in page if c in "\x1b\x07\x9b\x00\u202e"}
    text = Page(page).text
    assert "a\\x1b[31m\\u202egnp.png" in text
    assert "\\x07bell\\x9b" in text
