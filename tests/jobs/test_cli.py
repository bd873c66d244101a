"""The command line: specs from flags and YAML, exit statuses, one sentence for a mistake."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from recast.jobs import bulk, cli
from recast.jobs.exit_status import BAD_USAGE, DONE, FAILED, INTERRUPTED
from recast.jobs.specs import UpscaleOptions
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.output.test_compaction import Made, image


@pytest.fixture
def captured(monkeypatch):
    """The bulk jobs that commands would run."""
    jobs = []
    monkeypatch.setattr(bulk, "run", lambda job, options, _=None: jobs.append((job, options)) or 0)
    return jobs


def test_flags_become_a_typed_job(captured):
    arguments = ["upscale", "in", "s3://b/out", "--scale", "4", "--shard-bytes", "1MiB", "--include", "*.png"]
    assert cli._status([*arguments, "--format", "webp", "--max-failed", "0.5"]) == 0
    job, options = captured[0]
    assert job.source.urls == (str(Path("in").absolute()),)
    assert job.output == "s3://b/out"
    assert job.model.endswith("upscale-x4")
    assert (job.shard_bytes, job.source.include, job.encoder.format) == (1 << 20, ("*.png",), "webp")
    assert options.max_failed == 0.5


def test_yaml_fills_what_flags_leave_open(captured, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({"source": "s3://b/in", "output": "s3://b/out", "quality": 50, "limit": 3}))
    assert cli._status(["upscale", "-c", str(path), "--limit", "7"]) == 0
    job, _ = captured[0]
    assert (job.source.urls, job.encoder.quality, job.limit) == (("s3://b/in",), 50, 7)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["upscale", "in"], "recast upscale needs OUTPUT"),
        (["upscale", "in", "out", "--bogus"], "--bogus"),
        (["upscale", "in", "out", "--quality", "400"], "--quality"),
        (["upscale", "in", "out", "--scale", "1"], "scale"),
        (["translate", "in", "out"], "--model"),
        (["upscale", "in", "out", "-c", "/no/such.yaml"], "/no/such.yaml"),
        (["nonsense"], "nonsense"),
        (["train", "nonsense", "--data", "x", "--output", "y"], "nonsense"),
        (["train", "pix2pix", "--data", "x", "--output", "y", "--set", "ngf"], "key=value"),
        (["upscale", "in", "out", "--model", "/no/bundle"], "/no/bundle"),
    ],
)
def test_bad_usage_is_one_sentence_and_status_2(arguments, says, capsys):
    assert cli._status(arguments) == BAD_USAGE
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_missing_source_is_one_sentence_and_status_1(tmp_path, capsys):
    model = upscaler(tmp_path / "bundle")
    assert cli._status(["upscale", "/no/such/place", str(tmp_path / "out"), "--model", model]) == FAILED
    assert "/no/such/place" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_empty_source_is_done_with_a_warning(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    model = upscaler(tmp_path / "bundle")
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == DONE
    assert "holds no inputs" in capsys.readouterr().err


def test_logs_for_machines_are_events_alone(tmp_path, capsys, monkeypatch):
    """With RECAST_LOG=json every line on stderr is an object, errors too; stdout is as ever."""
    monkeypatch.setenv("RECAST_LOG", "json")
    (tmp_path / "in").mkdir()
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out")]) == DONE
    assert cli._status(["upscale", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == FAILED
    printed = capsys.readouterr()
    told = [json.loads(line) for line in printed.err.splitlines()]
    assert [line["event"] for line in told] == ["run begun", "run finished", "said", "run begun", "said"]
    assert (told[1]["inputs"], told[1]["run"]) == (0, told[0]["run"])
    assert "nowhere" in told[-1]["sentence"]
    assert "nothing to do" in printed.out


def test_a_dry_run_prints_the_spec_and_writes_nothing(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"x")
    model = upscaler(tmp_path / "bundle")
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model, "--dry-run"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["inputs"], said["to_do"]) == (1, 1)
    assert not (tmp_path / "out").exists()


def test_interrupting_is_safe_and_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(bulk, "run", interrupted)
    assert cli._status(["upscale", "in", "out"]) == INTERRUPTED
    assert "same command" in capsys.readouterr().err


def test_too_many_failures_exit_with_3_and_results_go_to_stdout(tmp_path):
    """As a user runs it: a process of its own, on a Ray of its own."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no image")
    model = upscaler(tmp_path / "bundle")
    command = [sys.executable, "-m", "recast", "upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=200, env=os.environ)
    assert done.returncode == 3
    assert json.loads(done.stdout)["failed"] == 1
    assert "not-an-image" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_default_is_a_valid_spec():
    assert UpscaleOptions().bundle().endswith("upscale-x2")


def test_a_clash_of_keys_is_bad_usage_in_one_sentence(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(b"x")
    sources = [str(tmp_path / "one"), str(tmp_path / "out"), "--also", str(tmp_path / "two")]
    assert cli._status(["upscale", *sources]) == BAD_USAGE
    said = capsys.readouterr().err
    assert "two inputs have the key a.png" in said
    assert not (tmp_path / "out").exists()


def test_prune_wants_all_of_the_source(tmp_path, capsys):
    assert cli._status(["upscale", str(tmp_path), str(tmp_path / "out"), "--prune", "--limit", "1"]) == BAD_USAGE
    assert "without --limit" in capsys.readouterr().err


def test_index_commands_work_on_an_output(tmp_path, capsysbinary):
    output = Made(tmp_path / "out")
    for n in range(3):
        output.add({f"{n}.png": image(n), "often.jpg": image(10 + n), f"bad{n}": None})
    assert cli._status(["index", "compact", str(tmp_path / "out")]) == DONE
    assert b"3 shards became 1; 2 superseded rows" in capsysbinary.readouterr().out
    assert cli._status(["index", "get", str(tmp_path / "out"), "often.jpg"]) == DONE
    assert capsysbinary.readouterr().out == image(12)
    assert cli._status(["index", "get", str(tmp_path / "out"), "bad1"]) == FAILED
    assert b"bad1 has no image: it is failed (corrupt: x)" in capsysbinary.readouterr().err
    assert cli._status(["index", "extract", str(tmp_path / "out"), str(tmp_path / "files")]) == DONE
    assert {p.name for p in (tmp_path / "files").iterdir()} == {"0.png", "1.png", "2.png", "often.jpg.png"}
    assert cli._status(["index", "compact", str(tmp_path / "none")]) == FAILED
    assert cli._status(["index", "compact", str(tmp_path / "out"), "--shard-bytes", "many"]) == BAD_USAGE


@pytest.mark.parametrize("side", ["source", "output"])
def test_bad_credentials_and_missing_buckets_are_one_sentence(
    tmp_path, bucket, object_store, capsys, monkeypatch, side
):
    """On either side of a job; nothing is written."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"x")
    model = upscaler(tmp_path / "bundle")

    def asked(url):
        places = [url, str(tmp_path / "out")] if side == "source" else [str(tmp_path / "in"), url]
        return cli._status(["upscale", *places, "--model", model])

    assert asked("s3://no-such-bucket-at-all/in") == FAILED
    assert "no-such-bucket-at-all" in capsys.readouterr().err
    stranger = dataclasses.replace(object_store, access_key="stranger", secret_key="nothing")
    with stranger.exported():
        assert asked(f"{bucket}/in") == FAILED
    said = capsys.readouterr().err
    assert "permission denied" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_odd_names_stay_apart_and_readable(tmp_path, capsys, worker_here):
    """Spaces, dots, Unicode, names that are not UTF-8, one stem with two extensions: a row and an image each."""
    (tmp_path / "in").mkdir()
    names = [b"a b.png", b"a.b.c.png", "ünï.png".encode(), b"\xff\xfe.png", b"same.png", b"same.bmp", b"-rf.png"]
    names += [b"a#1?.png", b"a%20b.png", b"a:b.png"]
    for n, name in enumerate(names):
        Image.new("RGB", (8, 8), (n, n, n)).save(tmp_path / "x.png")
        os.rename(tmp_path / "x.png", os.fsencode(tmp_path / "in") + b"/" + name)
    model = upscaler(tmp_path / "bundle")
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", model]) == DONE
    assert cli._status(["index", "verify", str(tmp_path / "out")]) == DONE
    assert cli._status(["index", "extract", str(tmp_path / "out"), str(tmp_path / "files")]) == DONE
    assert len({p.read_bytes() for p in (tmp_path / "files").iterdir()}) == len(names)
