"""The page of a training: its curves, its samples, and what went wrong with it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recast.pipeline import report
from recast.pipeline.report import curves
from recast.pipeline.report.output import Output
from recast.pipeline.report.samples import read_grids
from recast.pipeline.report.scalars import History, read_history
from recast.pipeline.report.training import grouped
from tests.pipeline.report.outputs import Page, png, segment, training

HOSTILE = "<script>alert(1)</script>\"' onerror=x &amp;.png"


def test_a_later_segment_replaces_what_was_trained_over(tmp_path: Path) -> None:
    """After two failures the newest attempt wins from its first step on, though an older one began at a later step."""
    (tmp_path / "logs").mkdir()
    attempts = {0: (0, [0, 1, 2, 3]), 3: (100, [3, 4, 5, 6]), 2: (200, [2, 3, 4])}
    for first, (time, steps) in attempts.items():
        lines = [json.dumps({"step": s, "time": time + s, "loss": float(time)}) for s in steps]
        (tmp_path / "logs" / f"scalars-{first:08d}.jsonl").write_text("\n".join(lines) + '\n{"step": 9, "lo')
    history = read_history(Output.at(str(tmp_path)))
    assert history.steps.tolist() == [0, 1, 2, 3, 4]
    assert history.scalars["loss"].tolist() == [0, 0, 200, 200, 200]


def test_training_page_shows_curves_samples_and_facts(tmp_path: Path) -> None:
    """Losses by network, balance, pace, at most twelve grids with first and last among them, and the record."""
    training(tmp_path / "t", steps=400)
    html = report.render(str(tmp_path / "t"))
    page = Page(html)
    for words in ("400 steps in 3 h 12 min", "Generator G adversarial", "Discriminator D real", "Balance D(x)"):
        assert words in page.text
    for words in (
        "bound by compute",
        "Share of time waiting for data",
        "Learning rate",
        "Checkpoints at steps 200 and",
    ):
        assert words in page.text
    assert "Warnings" not in page.text
    steps = [int(step) for step in page.values("data-step")]
    assert len(steps) == 12
    assert (steps[0], steps[-1]) == (0, 400)
    data = json.loads(re.search(r'id="curves">(.*?)</script>', html)[1])
    assert data["steps"][0] == 0
    assert data["steps"][-1] == 400
    assert all(len(curve) == len(data["steps"]) for chart in data["values"] for curve in chart)


def test_trouble_is_on_the_page_with_what_helps(tmp_path: Path) -> None:
    """What the scalars of a running training tell, and why a failed one ended."""
    (tmp_path / "logs").mkdir()
    line = {"D(x)": 0.999, "D(G(z))": 0.001, "waiting": 0.5, "images_per_s": 3.0}
    lines = [json.dumps({"step": step, **line}) for step in range(20, 400, 20)]
    (tmp_path / "logs" / "scalars-00000020.jsonl").write_text("\n".join(lines))
    failed = {"status": "failed", "problem": "the training diverged: G L1 is no longer finite at step 400."}
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "pix2pix", **failed}))
    text = Page(report.render(str(tmp_path))).text
    assert "From step 200 on: the discriminator has won" in text
    assert "From step 200 on: workers wait 50% of the time for examples" in text
    assert "bound by its data: workers wait 50 % of the time" in text
    assert failed["problem"] in text


def test_tall_grids_are_cut_between_rows(tmp_path: Path) -> None:
    """Six rows of small samples lie in two blocks of three; a grid of another make stays whole."""
    (tmp_path / "logs" / "samples").mkdir(parents=True)
    for step, height in ((1, 6 * 36 - 4), (2, 200)):
        grid = Image.new("RGB", (3 * 36 - 4, height))
        (tmp_path / "logs" / "samples" / f"step-{step:08d}.png").write_bytes(png(grid))
    drawn, other = read_grids(Output.at(str(tmp_path)))
    assert [(block.width, block.height) for block in drawn.blocks] == [(104, 104), (104, 104)]
    assert [(block.width, block.height) for block in other.blocks] == [(104, 200)]


def test_unfinished_trainings_have_their_page(tmp_path: Path) -> None:
    """A training with a record and nothing else, and one that met a NaN, are reported as they are."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "run.json").write_text('{"recipe": "pix2pix", "status": "running"}')
    assert "Nothing is logged yet" in Page(report.render(str(tmp_path))).text
    segment(tmp_path, range(0, 50, 10), 50, attempt=0)
    with (tmp_path / "logs" / "scalars-00000000.jsonl").open("a") as log:
        log.write('{"step": 50, "time": "2026-11-20T23:00:00+00:00", "G L1": NaN}\n')
    assert "Running at step 50. G L1 was not a finite number at step 50." in Page(report.render(str(tmp_path))).text


def test_long_histories_are_thinned_but_keep_their_extremes() -> None:
    """A million lines make a few hundred places, and a spike in them is still drawn."""
    steps = np.arange(1_000_000)
    values = np.where(steps == 500_000, 40.0, 1.0)
    place, ends = curves.places(steps)
    thinned = curves.thin(values, place, len(ends), smoothed=True)
    assert len(ends) == curves.POINTS
    assert thinned.high.max() == 40
    assert np.allclose(thinned.smooth[:10], 1)


@pytest.mark.parametrize(
    "values",
    [[1.0], [0.0, 0.0], [5.0, 5.0, 5.0], [-3.0, 2.0], [1e-7, 1e3], [np.nan, 2.0], [1e9, -1e9], [1.0001, 1.0002]],
)
def test_any_history_makes_a_chart(values: list[float]) -> None:
    """One line, constants, negative values, gaps and wide ranges: scales with ticks inside the chart."""
    history = History(steps=np.arange(len(values)), scalars={"x": np.array(values)}, broken={})
    chart = curves.chart("x", history, ["x"], logarithmic=True)
    assert [scale.kind for scale in chart.scales][: 1 + (np.nanmin(values) > 0)] == ["linear", "log"][
        : len(chart.scales)
    ]
    for scale in chart.scales:
        assert 2 <= len(scale.ticks) <= 9
        assert all(-0.01 <= tick.at <= 100.01 for tick in scale.ticks)


def test_losses_are_grouped_by_network() -> None:
    """Generators first, then discriminators, then the rest."""
    assert grouped(["D_A real", "PSNR dB", "G cycle", "D fake"]) == [
        ("Generator", ["G cycle"]),
        ("Discriminator", ["D_A real", "D fake"]),
        ("Measures", ["PSNR dB"]),
    ]
