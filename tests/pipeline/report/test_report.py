"""The report: what its page says is what the output holds, whatever state that is in, and it needs nothing else."""

import re
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from recast.pipeline import report, storage, wording
from recast.pipeline.output import index, rows
from recast.pipeline.report import pairs, runs
from recast.pipeline.report.output import Output
from recast.pipeline.storage import StorageError
from tests.pipeline.report.outputs import MODEL, WHEN, Page, bulk, facade, failed, manifest, png, row, training

HOSTILE = "<script>alert(1)</script>\"' onerror=x &amp;.png"


def doubled(size: int, seed: int = 1) -> tuple[Image.Image, Image.Image]:
    after = facade(seed, 2 * size, plain=False)
    return after.resize((size, size), Image.Resampling.BICUBIC), after


@pytest.fixture
def upscaled(tmp_path: Path) -> Path:
    """Fourteen results, three failures of two kinds, one finished run."""
    pairs = {f"a/{i:02d}.jpg": doubled(24, i) for i in range(13)} | {HOSTILE: doubled(24)}
    bad = [failed("b/1.jpg", "truncated: it ends early: after 3 bytes"), failed("b/2.jpg", "truncated: it ends early")]
    bulk(tmp_path / "out", tmp_path / "in", pairs, [*bad, failed(f"c/{HOSTILE}", f"empty: {HOSTILE}")])
    manifest(tmp_path / "out", counts={"inputs": 17, "ok": 14, "failed": 3, "held": 0, "settled_before": 0})
    return tmp_path / "out"


def fetched(html: str) -> list[str]:
    """Everything that a browser would load from elsewhere."""
    page = Page(html)
    urls = page.values("src", "href", "srcset", "poster", "action", "data", "xlink:href")
    urls += re.findall(r"url\(\s*[\"']?([^\"')]+)", html) + re.findall(r"@import\s+(\S+)", html)
    return [url for url in urls if not url.startswith(("data:", "#"))]


@pytest.mark.parametrize("kind", ["bulk", "training"])
def test_page_needs_nothing_else(kind: str, upscaled: Path, tmp_path: Path) -> None:
    """Nothing is fetched, and the page's own policy forbids it."""
    if kind == "training":
        training(tmp_path / "training", steps=200)
    html = report.render(str(upscaled if kind == "bulk" else tmp_path / "training"))
    assert fetched(html) == []
    assert "link" not in Page(html).elements
    assert "default-src 'none'; img-src data:" in html


def test_counts_and_failures_are_those_of_the_index(upscaled: Path) -> None:
    """Inputs, done and failed, and each kind with its number, its keys and its whole sentence."""
    page = Page(report.render(str(upscaled)))
    assert "14 of 17 images were upscaled by srresnet x4" in page.text
    assert "Inputs 17 Done 14 82 % Failed 3 18 % Held 0" in page.text
    assert "2 truncated b/1.jpg it ends early: after 3 bytes b/2.jpg it ends early" in page.text
    assert "Upscaling ×2" in page.text
    assert MODEL in page.text


def test_newest_row_of_a_key_counts(upscaled: Path) -> None:
    """An input that failed and then succeeded is done, and shown once."""
    fs, root = storage.filesystem(str(upscaled))
    later = row("a/00.jpg", "file:///gone", status="failed", error="odd: no", finished_at=WHEN.replace(hour=23))
    index.write_fragment(fs, root, "0002.tar", rows.table([later], {}))
    assert "Inputs 17 Done 13" in Page(report.render(str(upscaled))).text


def test_trends_show_what_changed_from_run_to_run(upscaled: Path) -> None:
    """The newest run beside the median of the others; one with nothing to do has neither rate nor share of failures."""
    assert "From run to run" not in Page(report.render(str(upscaled))).text
    for day, (ok, failed_, rate) in enumerate([(100, 0, 2.0), (0, 0, 0.0), (80, 0, 3.0), (60, 20, 1.0)], 21):
        counts = {"inputs": 400, "ok": ok, "failed": failed_, "held": 0, "settled_before": 0}
        when = f"2026-11-{day}T02:00:00Z"
        manifest(upscaled, f"202611{day}", counts=counts, images_per_s=rate, finished_at=when, seconds={"wall": 60.0})
    page = Page(report.render(str(upscaled)))
    assert "Inputs processed 80 in the newest run, median 48, max 100" in page.text
    assert "Failed or held 25 % in the newest run, median 0 %, max 25 %" in page.text
    assert "Pace 1 images/s in the newest run, median 2 images/s, fastest 3 images/s" in page.text
    (rates,) = [label for label in page.values("aria-label") if label.startswith("Pace")]
    assert "22 Nov 2026, 02:00 UTC: nothing to do; 23 Nov 2026, 02:00 UTC: 3 images/s" in rates


def test_hostile_names_stay_text(upscaled: Path) -> None:
    """A key or an error that looks like markup is shown as it is and makes no element or attribute."""
    html = report.render(str(upscaled))
    page = Page(html)
    assert HOSTILE.split("&")[0] in page.text
    assert page.elements.count("script") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_what_a_damaged_fragment_tells_of_is_said_to_be_missing(upscaled: Path) -> None:
    """Its rows count nowhere; a page that only left them out would call the rest all."""
    assert "of the index is damaged" not in Page(report.render(str(upscaled))).text
    (upscaled / "index" / "0002.parquet").write_bytes(b"half of a fragm")
    text = Page(report.render(str(upscaled))).text
    assert "1 fragment of the index is damaged, and the images that it tells of are not counted here" in text
    assert "Inputs 17 Done 14" in text


def test_what_an_annotation_found_is_counted_by_kind_and_score(tmp_path: Path) -> None:
    """Of current rows alone; other jobs' pages are without it."""
    fs, root = storage.filesystem(str(tmp_path / "out"))
    kinds = {"a.jpg": [("cat", 0.42), ("cat", 1.0), ("<b>", 0.1)], "b.jpg": [("cat", 0.44)], "c.jpg": []}
    for epoch, more in ((1, [("old", 0.5)]), (2, [])):
        settled = [
            row(key, f"s/{key}", epoch=epoch, regions=[
                {"kind": kind, "box": [0, 0, 5, 5], "score": score} for kind, score in [*found, *more]
            ])
            for key, found in kinds.items()
        ]  # fmt: skip
        index.write_fragment(fs, root, f"{'0' * 20}-{epoch}-000.tar", rows.table(settled, {}))
    manifest(tmp_path / "out", job="annotate")
    html = report.render(str(tmp_path / "out"))
    page = Page(html)
    assert "What was found cat 3 in 2 images, by score from 0 to 1 <b> 1 in 1 image" in page.text
    assert "cat by score: 0.4 to 0.45: 2; 0.95 to 1: 1" in page.values("aria-label")
    assert "old" not in page.text
    manifest(tmp_path / "out", job="upscale")
    assert "What was found" not in report.render(str(tmp_path / "out"))


def test_rare_kinds_of_failures_are_folded(tmp_path: Path) -> None:
    """Three are open; twenty of them would be screens of what nobody asked for."""
    bad = [failed(f"{kind}/{n}.jpg", f"{kind}: why") for kind in range(6) for n in range(9 - kind)]
    bulk(tmp_path / "out", tmp_path / "in", {}, bad)
    page = Page(report.render(str(tmp_path / "out")))
    assert page.elements.count("details") == 6
    assert [name for tag, name, _ in page.attributes if tag == "details"] == ["open"] * 3
    assert "and 6 more" in page.text
    assert "0/<wbr>0.jpg" in report.render(str(tmp_path / "out"))


def test_pictures_show_the_same_place_exactly(tmp_path: Path) -> None:
    """A large result is cut from its middle, on whole pixels of its input, and the page says how large it is."""
    gradient = np.indices((800, 1600)).sum(axis=0)[..., None].repeat(3, 2) % 256
    after = Image.fromarray(gradient.astype(np.uint8))
    bulk(tmp_path / "out", tmp_path / "in", {"big.png": (after.resize((400, 200)), after)}, [])
    (pair,) = pairs.read_pairs(Output.at(str(tmp_path / "out")), ["big.png"], [f"file://{tmp_path}/in"])
    assert (pair.after.width, pair.after.height) == (512, 384)
    assert (pair.before.width, pair.before.height) == (128, 96)
    assert (pair.smooth.width, pair.smooth.height) == (512, 384)
    assert pair.after.exact
    text = Page(report.render(str(tmp_path / "out"), str(tmp_path / "in"))).text
    assert "The one result. Of those larger than 512 px, the middle is shown." in text
    assert "400 × 200 → 1,600 × 800 px" in text


def test_remarks_of_the_index_are_shown(tmp_path: Path) -> None:
    """What the index notes of a result stands below its picture."""
    bulk(tmp_path / "out", tmp_path / "in", {"a.gif": doubled(16)}, [], notes=["first of 12 frames"])
    assert (
        "16 × 16 → 32 × 32 px; first of 12 frames"
        in Page(report.render(str(tmp_path / "out"), str(tmp_path / "in"))).text
    )


def test_small_results_are_embedded_byte_for_byte(upscaled: Path) -> None:
    """What the page shows of a small PNG is the very file of the shard."""
    (pair,) = pairs.read_pairs(Output.at(str(upscaled)), ["a/03.jpg"], [f"file://{upscaled.parent}/in"])
    assert pair.after.uri.startswith("data:image/png;base64,")
    assert pair.after_size == (48, 48)


def test_vanished_and_changed_sources_leave_the_result(upscaled: Path) -> None:
    """Without its source a result is shown alone, and the page says why."""
    (upscaled.parent / "in" / "a" / "03.jpg").unlink()
    (upscaled.parent / "in" / "a" / "04.jpg").write_bytes(png(Image.new("RGB", (9, 9))))
    found = pairs.read_pairs(
        Output.at(str(upscaled)), ["a/03.jpg", "a/04.jpg", "a/05.jpg"], [f"file://{upscaled.parent}/in"]
    )
    assert [pair.before is None for pair in found] == [True, True, False]
    assert all(pair.after for pair in found)
    assert [pair.note.split(",")[0] for pair in found] == [
        "The source can’t be read any more.",
        "The source has changed since",
        "",
    ]


def test_missing_shard_is_said_not_raised(upscaled: Path) -> None:
    """A result whose bytes are damaged gets a sentence in place of a picture."""
    shard = upscaled / "shards" / "0001.tar"
    shard.write_bytes(b"\0" * shard.stat().st_size)
    assert "The result can’t be read" in Page(report.render(str(upscaled))).text


@pytest.mark.parametrize("finished", [True, False])
def test_deidentified_originals_are_not_shown(finished: bool, tmp_path: Path) -> None:
    """A report on a de-identification gives no original away, not even before its first run has finished."""
    bulk(tmp_path / "out", tmp_path / "in", {"a.png": (facade(1, 32, plain=True), facade(1, 32, plain=False))}, [])
    if finished:
        manifest(tmp_path / "out", job="deidentify")
    else:
        fs, root = storage.filesystem(str(tmp_path / "out"))
        face = {"kind": "face", "box": [0.0, 0.0, 1.0, 1.0], "score": 0.9, "action": "solid"}
        held = row("b.png", "file:///b.png", status="held", error="no-face: none", regions=[face])
        index.write_fragment(fs, root, "0002.tar", rows.table([held], {}))
    page = Page(report.render(str(tmp_path / "out")))
    assert [alt for alt in page.values("alt") if alt.startswith("Before")] == []
    assert page.values("alt") == ["After: a.png"]


def test_pictures_are_few_and_spread_evenly(upscaled: Path) -> None:
    """However large the index, a page shows ten results from all over it, and stays small."""
    page = Page(report.render(str(upscaled)))
    assert len([alt for alt in page.values("alt") if alt.startswith("After")]) == pairs.PAIRS
    assert pairs.choose(1000, 4) == [125, 375, 625, 875]
    assert pairs.choose(3) == [0, 1, 2]
    assert pairs.choose(0) == []


def test_noise_stays_within_bounds(tmp_path: Path) -> None:
    """Pictures that don't compress are embedded with little loss, and the page says so."""
    noise = Image.effect_noise((512, 512), 90).convert("RGB")
    rough = Image.merge("RGB", [Image.effect_noise((512, 512), 90) for _ in range(3)])
    bulk(tmp_path / "out", tmp_path / "in", {"n.png": (noise.resize((256, 256)), rough)}, [])
    html = report.render(str(tmp_path / "out"))
    assert len(html) < 1_500_000
    assert "slightly compressed copy" in Page(html).text


def test_unfinished_empty_and_failed_outputs_have_their_page(tmp_path: Path) -> None:
    """Every state of an output gives a page that says what is the case."""
    (tmp_path / "empty").mkdir()
    report.write(str(tmp_path / "empty"))
    assert "Nothing is here yet" in Page(report.render(str(tmp_path / "empty"))).text
    bulk(tmp_path / "begun", tmp_path / "in", {"a.png": doubled(16)}, [])
    assert "No run has finished yet" in Page(report.render(str(tmp_path / "begun"))).text
    bulk(tmp_path / "bad", tmp_path / "in", {}, [failed("a.png", "empty: the file has no bytes")])
    manifest(tmp_path / "bad")
    text = Page(report.render(str(tmp_path / "bad"))).text
    assert "None of 1 image was upscaled" in text
    assert "100 %" in text
    manifest(tmp_path / "idle", counts={})
    assert "The last run found no images in s3://archive/photos" in Page(report.render(str(tmp_path / "idle"))).text


def test_many_kinds_and_long_sentences_stay_readable(tmp_path: Path) -> None:
    """The most frequent kinds are listed, the others counted, and no sentence fills the page."""
    bad = [failed(f"{i}.png", f"kind-{i:02d}: {'x' * 5000}") for i in range(40)]
    bulk(tmp_path / "out", tmp_path / "in", {}, [*bad, failed("n.png", None), failed("m.png", None)])
    html = report.render(str(tmp_path / "out"))
    assert "2 no reason given" in Page(html).text
    assert "21 inputs of rarer kinds are not listed" in Page(html).text
    assert "x" * 500 not in html


def test_manifests_of_other_versions_are_read_leniently(upscaled: Path) -> None:
    """Missing, odd and damaged fields are left out; a damaged manifest is counted and skipped."""
    (upscaled / "runs" / "x.json").write_text('{"run": "x", "counts": null, "seconds": {"wall": "long"}}')
    (upscaled / "runs" / "y.json").write_text('{"run": ')
    found, unread = runs.read_runs(Output.at(str(upscaled)))
    assert len(found) == 2
    assert unread == 1
    assert "Older or unreadable runs not listed: 1" in Page(report.render(str(upscaled))).text


def test_no_output_is_one_sentence(tmp_path: Path) -> None:
    """A folder of something else, or none at all, is a user's mistake."""
    (tmp_path / "photo.jpg").write_bytes(b"")
    for place in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StorageError, match="no output of Recast at"):
            report.render(str(place))


def test_outputs_in_a_bucket_have_their_page(upscaled: Path) -> None:
    """An output on storage that isn't a disk is read and written there."""
    bucket = fsspec.filesystem("memory")
    bucket.put(str(upscaled), "/bucket/out", recursive=True)
    source = f"{upscaled.parent}/in"
    assert report.write("memory://bucket/out", source=source) == "memory://bucket/out/report.html"
    page = Page(bucket.cat_file("/bucket/out/report.html").decode())
    assert "14 of 17 images were upscaled" in page.text
    assert sum(alt.startswith("Before:") for alt in page.values("alt")) == pairs.PAIRS


def test_written_where_asked(upscaled: Path, tmp_path: Path) -> None:
    """By default into the output, else to any path or URL, and it says where."""
    assert report.write(str(upscaled)) == f"{upscaled}/report.html"
    assert report.write(str(upscaled), f"file://{tmp_path}/x/y.html") == f"file://{tmp_path}/x/y.html"
    assert (tmp_path / "x" / "y.html").read_text() == (upscaled / "report.html").read_text()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (wording.duration(0.42), "0.42 s"),
        (wording.duration(59.7), "1 min 00 s"),
        (wording.duration(11_100), "3 h 05 min"),
        (wording.size(999), "999 B"),
        (wording.size(1_234_567), "1.23 MB"),
        (wording.percent(0.0004), "< 0.1 %"),
        (wording.percent(0.9996), "> 99.9 %"),
        (wording.percent(0), "0 %"),
        (wording.significant(2e-5), "2.0e-5"),
        (wording.significant(float("nan")), "–"),
        (wording.plainly(12_500), "12.5k"),
    ],
)
def test_wording(said: str, words: str) -> None:
    """Numbers read as a person would write them."""
    assert said == words
