"""SOURCE may be codes or points, where the network takes them first: each row of a table or an output is an input."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from recast.jobs import cli
from recast.models.descriptor import Descriptor, NetworkInput
from recast.pipeline import bundles, storage
from recast.pipeline.bulk import road
from recast.pipeline.bulk.network_values import NO_PICTURE, values_of
from recast.pipeline.output.index import current
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.progress import Silent
from tests.pipeline.bulk.bundle_operation import drawing, posed
from tests.pipeline.bulk.test_road import image, job, sound, view
from tests.pipeline.sources.test_input_providers import output_of

CODE = NetworkInput(name="code", kind="code", channels=3, value_range=(-2.0, 2.0))
POINTS = NetworkInput(name="points", kind="points", channels=2, value_range=(-1.0, 1.0))
IMAGE = NetworkInput(name="image", kind="image")
CODES = {"a": [0.5, 1.0, -1.0], "b.png": [1.0, -2.0, 0.0], "c": [0.0, 0.0, 0.0]}

NOISE = NetworkInput(name="z", kind="noise", channels=3, value_range=(-9.0, 9.0))


def codes(path: Path, found: dict) -> str:
    pq.write_table(pa.table({"key": list(found), "code": pa.array(found.values(), pa.list_(pa.float64()))}), path)
    return str(path)


def made(output: Path, key: str) -> np.ndarray:
    named = key if key.endswith(".png") else f"{key}.png"
    return np.asarray(Image.open(io.BytesIO(OutputFileSystem(str(output)).cat_file(named))), int)


def sizes(output: Path) -> dict[str, tuple]:
    fs, path = storage.filesystem(str(output))
    rows = current(fs, path, ["key", "source", "source_width", "source_height"]).to_pylist()
    return {row["key"]: (row["source"], row["source_width"], row["source_height"]) for row in rows}


def region(*points: float) -> dict:
    return {"kind": "face", "box": [0, 0, 9, 9], "score": 0.9, "points": list(points)}


@pytest.mark.usefixtures("worker_here")
class TestRuns:
    def test_codes_become_images_without_an_image(self, tmp_path):
        """The network's own for each code; a code that does not fit is a row; another code makes its row new alone."""
        model = drawing(tmp_path / "bundle", CODE)
        found = CODES | {"short": [1.0], "none": None}
        asked = job(codes(tmp_path / "codes.parquet", found), tmp_path / "out", model, job="translate")
        summary = road.run(asked, Silent())
        assert (summary.ok, summary.failures) == (3, {"unfit-input": 1, "no-input": 1})
        network = bundles.fetch(model).unpack()[1]
        for key, code in CODES.items():
            wanted = (network(torch.tensor([code]))[0].permute(1, 2, 0) + 1) / 2 * 255
            assert np.abs(made(tmp_path / "out", key) - wanted.numpy()).max() <= 1
        assert sizes(tmp_path / "out")["a"] == (f"row://a::file://{tmp_path}/codes.parquet", None, None)
        before = view(tmp_path / "out")
        assert before["short"][2] == "unfit-input: code: it has 1 numbers, and the network takes 3"
        assert road.run(asked, Silent()).settled_before == 5
        codes(tmp_path / "codes.parquet", found | {"c": [0.0, 0.0, 0.1], "none": [1.0, 1.0, 1.0]})
        again = road.run(asked, Silent())
        assert (again.ok, again.failed, again.settled_before) == (2, 0, 3)
        after = view(tmp_path / "out")
        assert {key for key in after if after[key] != before[key]} == {"c", "none"}
        assert sound(tmp_path / "out")

    def test_points_of_an_output_go_with_the_image_of_their_key(self, tmp_path):
        """The result is of the image's size, and follows both; without an image there is none."""
        for n in range(2):
            image(tmp_path / f"photos/{n}.png", n)
        table = tmp_path / "photos.csv"
        table.write_text("key,image\n0.png,photos/0.png\n1.png,photos/1.png\n")
        rows = [{"key": f"{n}.png", "regions": [region(2 * n, 4, 8, 12)]} for n in range(3)]
        failed = {"key": "3.png", "status": "failed", "error": "empty: x"}
        looked = output_of(tmp_path / "looked", *rows, {"key": "4.png", "regions": []}, failed)
        model = posed(tmp_path / "bundle", IMAGE, first=POINTS, channels=4 + 3)
        asked = job(looked, tmp_path / "out", model, job="translate", inputs={"image": str(table)})
        summary = road.run(asked, Silent())
        assert (summary.ok, summary.failures) == (2, {"no-input": 2})
        assert summary.passed_over == {"failed-before": 1}
        network = bundles.fetch(model).unpack()[1]
        for n in range(2):
            photo = np.asarray(Image.open(tmp_path / f"photos/{n}.png"), np.float32)
            places = np.array([2 * n, 4, 8, 12], np.float32) / (16, 24, 16, 24) * 2 - 1
            planes = np.broadcast_to(places.astype(np.float32), (24, 16, 4))
            x = torch.from_numpy(np.dstack([planes, photo / 255])).permute(2, 0, 1)[None]
            wanted = network(x)[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255
            assert np.abs(made(tmp_path / "out", f"{n}.png") - wanted).max() <= 1
            assert sizes(tmp_path / "out")[f"{n}.png"] == (f"row://{n}.png::file://{looked}", 16, 24)
        assert "has no points for this key" in view(tmp_path / "out")["4.png"][2]
        image(tmp_path / "photos/1.png", 9)
        table.write_text("key,image,etag\n0.png,photos/0.png,\n1.png,photos/1.png,new\n")
        assert road.run(asked, Silent()).ok == 1

    def test_names_that_lead_elsewhere_are_rows(self, tmp_path):
        """A stranger may have written the table."""
        found = {"../a": CODES["a"], "b\x1b[2J": CODES["a"], "": CODES["a"]}
        asked = job(
            codes(tmp_path / "codes.parquet", found), tmp_path / "out", drawing(tmp_path / "m", CODE), job="translate"
        )
        summary = road.run(asked, Silent())
        assert (summary.ok, summary.failures) == (1, {"unsafe-name": 2})
        assert "(row 2)" in view(tmp_path / "out")

    def test_as_a_person_asks_for_it(self, tmp_path, capsys):
        """The command is the same; a plan measures it; the page shows that there was no image."""
        table = tmp_path / "codes.csv"
        table.write_text("key,code\n" + "".join(f'{key},"{code}"\n' for key, code in CODES.items()))
        asked = [str(table), "--model", drawing(tmp_path / "bundle", CODE)]
        assert cli._status(["plan", *asked, "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert (facts["inputs"], facts["unreadable"], facts["input_bytes"], facts["megapixels"]) == (3, 0, 0, 0)
        assert cli._status(["translate", asked[0], str(tmp_path / "out"), *asked[1:], "--dry-run"]) == 0
        assert cli._status(["translate", asked[0], str(tmp_path / "out"), *asked[1:]]) == 0
        assert cli._status(["report", str(tmp_path / "out")]) == 0
        assert "no image" in (tmp_path / "out/report.html").read_text()

    def test_noise_that_comes_first_is_what_the_source_gives_and_other_noise_is_drawn(self, tmp_path):
        """The network's own for the numbers of each row, whatever the key; a second noise follows from the key."""
        table = tmp_path / "noise.parquet"
        pq.write_table(pa.table({"key": list("abc"), "z": [[0.5, -1.0, 2.0]] * 2 + [[99.0, 0.0, 0.0]]}), table)
        alone = drawing(tmp_path / "alone", NOISE)
        summary = road.run(job(table, tmp_path / "out", alone, job="translate"), Silent())
        assert (summary.ok, summary.failures) == (2, {"unfit-input": 1})
        network = bundles.fetch(alone).unpack()[1]
        wanted = (network(torch.tensor([[0.5, -1.0, 2.0]]))[0].permute(1, 2, 0) + 1) / 2 * 255
        for key in "ab":
            assert np.abs(made(tmp_path / "out", key) - wanted.numpy()).max() <= 1
        two = Descriptor(task="translate", inputs=(NOISE, dataclasses.replace(NOISE, name="w")))
        given = dataclasses.replace(NO_PICTURE, further=(np.ones(3, np.float32),))
        (one, drawn), (same, other) = (values_of(given, two, key) for key in "ab")
        assert np.array_equal(one, same)
        assert not np.array_equal(drawn, other)

    def test_sources_that_give_no_numbers_are_refused_before_work_starts(self, tmp_path, capsys):
        image(tmp_path / "photos/0.png")
        texts = tmp_path / "texts.parquet"
        pq.write_table(pa.table({"key": ["a"], "code": ["x"]}), texts)
        model = drawing(tmp_path / "bundle", CODE)
        for source, bundle, why in (
            (tmp_path / "photos", model, "can't give code (code): it is neither an output nor a table"),
            (output_of(tmp_path / "looked", {"key": "a"}), model, "is an output, which has no code (code)"),
            (texts, model, "holds string, which is no code (code)"),
            (
                codes(tmp_path / "codes.parquet", CODES),
                drawing(tmp_path / "noise", NOISE),
                "needs the columns key and z",
            ),
        ):
            assert cli._status(["translate", str(source), str(tmp_path / "out"), "--model", bundle]) == 2
            assert why in capsys.readouterr().err
        other = codes(tmp_path / "other.parquet", {"b.png": CODES["a"]})
        asked = ["translate", other, str(tmp_path / "out"), "--model", model, "--also", str(tmp_path / "codes.parquet")]
        assert cli._status(asked) == 2
        assert "two inputs have the key b.png: row://b.png::" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
