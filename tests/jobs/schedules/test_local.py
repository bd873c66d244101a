"""Schedules on this machine: kept in a crontab, fired while images arrive and runs are killed, and told of."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from recast.jobs import cli
from recast.jobs.schedules import local
from recast.pipeline import storage
from recast.pipeline.output.index import current, fragments
from recast.pipeline.output.verify import verify
from tests.pipeline.bulk.bundle_maker import upscaler
from tests.pipeline.bulk.test_road import image

CRONTAB = """#!/bin/sh
# crontab(1), as far as is needed: one table in a file.
case "$1" in
  -l) cat "$TABLE" 2>/dev/null || { echo "no crontab for you" >&2; exit 1; } ;;
  -) cat > "$TABLE" ;;
esac
"""


@pytest.fixture
def table(tmp_path, monkeypatch) -> Path:
    """A crontab of the test's own, and a folder for what is written down."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/crontab").write_text(CRONTAB)
    (tmp_path / "bin/crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(tmp_path / "table"))
    monkeypatch.setenv("RECAST_SCHEDULES", str(tmp_path / "schedules"))
    return tmp_path / "table"


def test_schedules_come_and_go_and_others_lines_stay(table, capsys, monkeypatch):
    table.write_text("0 1 * * * /usr/bin/something else\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    for cron in ("0 2 * * *", "@hourly"):
        assert cli._status(["schedule", "install", "--cron", cron, "--name", "n", "upscale", "in", "50% out"]) == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "0 1 * * * /usr/bin/something else"
    assert len(lines) == 2
    assert lines[1].startswith("0 * * * * RECAST_SCHEDULES=")
    assert lines[1].endswith("-m recast schedule run n # recast schedule n")
    written = (table.parent / "schedules/n.json").read_text()
    assert json.loads(written)["environment"]["AWS_ENDPOINT_URL"] == "http://here"
    assert "hidden" not in written
    capsys.readouterr()
    assert cli._status(["schedule", "list"]) == 0
    assert "not run yet" in capsys.readouterr().out
    assert cli._status(["schedule", "remove", "n"]) == 0
    assert table.read_text().splitlines() == lines[:1]
    assert cli._status(["schedule", "remove", "n"]) == cli.FAILED
    assert "there is no schedule 'n'" in capsys.readouterr().err


def test_a_commands_file_is_checked_now_and_found_later(table, tmp_path, monkeypatch, capsys):
    """By its whole path here; elsewhere it must lie on storage."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("scale: 4\nactors: 2\n")
    what = ["upscale", "-c", "job.yaml", "in", "out"]
    assert cli._status(["schedule", "install", "--cron", "@daily", "--name", "n", *what]) == 0
    kept = json.loads((tmp_path / "schedules/n.json").read_text())["command"]
    assert kept == ["upscale", "in", "out", "-c", str(tmp_path / "job.yaml")]
    assert cli._status(["schedule", "render", "--to", "kubernetes", *what]) == cli.BAD_USAGE
    assert "put it on storage" in capsys.readouterr().err
    (tmp_path / "job.yaml").write_text("scale: 7\n")
    assert cli._status(["schedule", "install", "--cron", "@daily", *what]) == cli.BAD_USAGE


def test_where_there_is_no_crontab_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("RECAST_SCHEDULES", str(tmp_path))
    assert cli._status(["schedule", "install", "--cron", "@daily", "upscale", "in", "out"]) == cli.FAILED
    assert "there is no crontab on this machine" in capsys.readouterr().err


def test_images_that_arrive_while_runs_are_fired_and_killed_are_settled_once(bucket, table, tmp_path):
    """The crontab's own line, fired again and again, sometimes over a run that is still at work; one run is killed."""
    source, output = tmp_path / "in", f"{bucket}/out"
    model = upscaler(tmp_path / "bundle")
    image(source / "0.png", 0)
    job = ["upscale", str(source), output, "--model", model, "--actors", "1"]
    assert cli._status(["schedule", "install", "--cron", "* * * * *", "--name", "often", *job]) == 0
    (line,) = table.read_text().splitlines()
    command = line.split(" ", 5)[5].partition(" #")[0]
    arriving = threading.Thread(target=_arrive, args=(source, 8))
    arriving.start()
    first = subprocess.Popen(["/bin/sh", "-c", command], start_new_session=True)
    time.sleep(3)
    overlapping = subprocess.run(["/bin/sh", "-c", command], check=False)
    os.killpg(first.pid, signal.SIGKILL)
    subprocess.run(["pkill", "-KILL", "-f", str(tmp_path / "bundle")], check=False)
    first.wait()
    arriving.join()
    deadline = time.monotonic() + 150
    while subprocess.run(["/bin/sh", "-c", command], check=False).returncode:
        assert time.monotonic() < deadline, local.last_run("often")
    fs, path = storage.filesystem(output)
    rows = current(fs, path, ["key", "status"]).to_pylist()
    assert {row["key"]: row["status"] for row in rows} == {f"{n}.png": "ok" for n in range(9)}
    assert sum(len(f.rows) for f in fragments(fs, path, ["key"])) == 9
    assert verify(output).faults == []
    last = local.last_run("often")
    assert (last.status, last.outcome) == (0, "done")
    assert last.said
    metrics = (tmp_path / "schedules/often.prom").read_text()
    assert 'recast_schedule_last_run_status{schedule="often"} 0' in metrics
    assert (tmp_path / "schedules/often.log").read_text().count("--- ") >= 3
    assert overlapping.returncode in (0, 1)


def _arrive(folder, count):
    for n in range(1, count + 1):
        image(folder.parent / f"arriving/{n}.png", n)
        (folder.parent / f"arriving/{n}.png").rename(folder / f"{n}.png")
        time.sleep(0.4)
