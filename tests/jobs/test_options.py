"""Options are the settings of the jobs themselves: one name, default, range and digest wherever they come from."""

import dataclasses
import re

import pytest
from pydantic import ValidationError
from rich.console import Console

from recast.jobs import bulk, cli
from recast.pipeline.bulk.job import BulkJob, BulkSettings, GeneratorSettings
from recast.pipeline.deidentify.settings import Deidentification, DeidentifiedEncoder, Policy, Replacement
from recast.pipeline.images.encode import Encoder
from recast.pipeline.sources.inventory import Selection, Source
from recast.pipeline.training.settings import TrainingSettings

OTHER_NAMES = {"detectors": "detector", "names": "keys", "without": "policy", "schemes": "allow-scheme"}


@pytest.fixture
def asked(monkeypatch):
    """The job that a command line asks for."""
    jobs = []
    monkeypatch.setattr(bulk, "run", lambda job, *_: jobs.append(job) or 0)

    def ask(words, *more):
        assert cli._status([*words.split(), *more]) == 0
        return jobs.pop()

    return ask


@pytest.mark.parametrize(
    ("words", "digest"),
    [
        ("upscale in out", "de463143247d419f"),
        ("upscale in out --format jpeg --quality 77 --metadata keep --no-provenance", "8d2106ad1cc875c8"),
        ("upscale in out --precision bf16 --max-pixels 1000 --shards parquet --shard-bytes 1GB", "49d11d65627e7cfa"),
        ("translate in out --model upscale-x2 --noise", "7b34a6f0161a158b"),
        ("deidentify in out --detector none --boxes BOXES", "b518caf9f6b8f18c"),
        (
            "deidentify in out --detector none --boxes BOXES --threshold 0.1 --method blur --strength 2 --shape box "
            "--margin 0.5 --policy sample --sample-share 0.5 --metadata strip --format webp --scales 0.5 --scales 1 "
            "--smallest-face 20 --mirrored",
            "ff0fb276e57a3a20",
        ),
    ],
)
def test_the_same_options_have_the_digests_that_they_had_in_november_2026(asked, tmp_path, words, digest):
    """Outputs made then are gone on with, and not refused as made with other settings."""
    (tmp_path / "boxes.csv").write_text("key,left,top,right,bottom\na.png,1,1,5,5\n")
    job = asked(words.replace("BOXES", str(tmp_path / "boxes.csv")))
    assert job.spec_digest() == f"sha256:{digest}"


def test_a_file_of_options_means_what_the_same_flags_mean(asked, tmp_path):
    """Options of settings within settings stand in it under their own names, too."""
    (tmp_path / "boxes.csv").write_text("key,left,top,right,bottom\na.png,1,1,5,5\n")
    (tmp_path / "job.yaml").write_text(
        f"policy: hold\nmost_regions: 5\ndetector: [none]\nboxes: {tmp_path}/boxes.csv\nshard_bytes: 512MiB\n"
    )
    job = asked("deidentify in out -c", str(tmp_path / "job.yaml"))
    assert job.spec_digest() == "sha256:a8e6f2b9dc45f358"
    flags = f"--policy hold --most-regions 5 --detector none --boxes {tmp_path}/boxes.csv --shard-bytes 512MiB"
    assert job == asked(f"deidentify in out {flags}")
    assert job.shard_bytes == 512 << 20


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("upscale", (BulkSettings, Encoder, Selection)),
        ("translate", (GeneratorSettings, Encoder, Selection)),
        ("deidentify", (BulkSettings, DeidentifiedEncoder, Selection, Deidentification, Policy, Replacement)),
        ("train", (TrainingSettings,)),
    ],
)
def test_each_setting_is_an_option_with_its_docstring_as_help(command, settings, capsys, monkeypatch):
    monkeypatch.setattr(cli.app, "console", Console(width=2000))
    assert cli._status([command, "--help"]) == 0
    page = capsys.readouterr().out
    for kind in settings:
        for field in dataclasses.fields(kind):
            if field.name not in ("policy", "replacement"):  # these hold settings themselves
                flag = OTHER_NAMES.get(field.name, field.name.replace("_", "-"))
                assert re.search(rf"^\W+--{flag} .* {re.escape(field.metadata['help'])}", page, re.MULTILINE)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (Encoder, {"quality": 101}),
        (DeidentifiedEncoder, {"metadata": "keep"}),
        (BulkSettings, {"shard_images": 0}),
        (BulkSettings, {"shard_image": 5}),
        (Policy, {"threshold": float("nan")}),
        (TrainingSettings, {"data": "x", "output": "y", "seed": -1}),
    ],
)
def test_ranges_hold_in_python_as_on_the_command_line(kind, wrong):
    with pytest.raises(ValidationError):
        kind(**wrong)


def test_a_job_holds_its_settings_as_they_were_chosen():
    settings = GeneratorSettings(noise=True, limit=3, shard_images=7)
    job = BulkJob.of(settings, job="translate", source=Source(urls=("x",)), output="out", model="b")
    assert {f.name: getattr(job, f.name) for f in dataclasses.fields(settings)} == vars(settings)
