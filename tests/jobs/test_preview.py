"""A preview of a de-identification: a page about a random sample, and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.jobs import cli
from tests.pipeline.bulk.bundle_operation import begun


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for n in range(9):
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 40, 3), np.uint8)).save(tmp_path / f"in/{n}.png")
    boxes = {f"{n}.png": [{"box": [4, 4, 20, 20], "score": 0.75}] for n in range(8)}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path / "in"


def command(source: Path, output: str, *more: str) -> list[str]:
    boxes = str(source.parent / "boxes.json")
    return ["deidentify", str(source), output, "--detector", "none", "--boxes", boxes, "--preview", *more]


def test_a_page_says_what_would_become_of_all_images(source, tmp_path, capsys):
    """Frames and scores of what is replaced, and why an image is held; no original, no index, no lease."""
    assert cli._status(command(source, str(tmp_path / "out"), "12", "--json")) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {"page": str(tmp_path / "out/preview.html"), "inputs": 9, "sampled": 9, "ok": 8, "held": 1}
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["preview.html"]
    page = (tmp_path / "out/preview.html").read_text()
    assert page.count('class="mark') == 8
    assert "region 0.75, solid" in page
    assert "Preview of a de-identification" in page
    assert "8.png" in page
    assert "A random sample of 9 images of 9: 8 would be published, 1 held back" in " ".join(page.split())
    assert "recast-preview-" not in page


def test_a_sample_is_random_and_the_same_each_time(source, bucket, capsys):
    found = []
    for _ in range(2):
        assert cli._status(command(source, f"{bucket}/out", "3", "--json")) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1]
    assert (found[0]["inputs"], found[0]["sampled"]) == (9, 3)


def test_no_passcode_is_asked_for_and_the_run_goes_on_as_if_there_had_been_no_preview(source, tmp_path, capsys):
    model = begun("passcode", tmp_path / "bundle")
    sealing = ["--seal", "--keys", "hmac", "--model", model]
    assert cli._status(command(source, str(tmp_path / "out"), "2", *sealing)) == 0
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["preview.html"]
    plain = ["deidentify", str(source), str(tmp_path / "out"), "--detector", "none", "--on", "here"]
    assert cli._status([*plain, "--boxes", str(tmp_path / "boxes.json")]) == 0
    assert "8 ok" in capsys.readouterr().out


def test_a_page_of_somebody_elses_stays(source, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/preview.html").write_text("mine")
    assert cli._status(command(source, str(tmp_path / "out"), "2")) == 2
    assert (tmp_path / "out/preview.html").read_text() == "mine"
    (tmp_path / "none").mkdir()
    assert cli._status(command(tmp_path / "none", str(tmp_path / "out"), "2", "--replace")) == 0
    assert "holds no inputs" in capsys.readouterr().err
