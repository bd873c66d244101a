"""Schedules on this machine: kept in a crontab, fired while images arrive and runs are killed, and told of."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from recast.jobs import cli, exit_status
from recast.jobs.schedules import local
from recast.pipeline import storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output.index import current, fragments
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image

CRONTAB = """#!/bin/sh
# crontab(1), as far as is needed: one table in a file.
case "$1" in
  -l) [ ! -e "$TABLE.locked" ] || { echo "crontab: you are not allowed to use this program" >&2; exit 1; }
      cat "$TABLE" 2>/dev/null || { echo "no crontab for you" >&2; exit 1; } ;;
  -) [ ! -e "$TABLE.full" ] || { echo "disk quota exceeded" >&2; exit 1; }; cat > "$TABLE" ;;
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


def install(*words, name="n"):
    cron = () if "--cron" in words else ("--cron", "@daily")
    return cli._status(["schedule", "install", "--no-check", *cron, "--name", name, *words])


def test_schedules_come_and_go_and_others_lines_stay(table, capsys, monkeypatch):
    table.write_text("0 1 * * * /usr/bin/something else\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://here")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    assert install("upscale", "in", "50% out") == 0
    assert install("upscale", "in", "50% out") == exit_status.FAILED
    assert "give --replace" in capsys.readouterr().err
    assert install("--cron", "@hourly", "--replace", "upscale", "in", "50% out") == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "0 1 * * * /usr/bin/something else"
    assert len(lines) == 2
    assert lines[1].startswith("0 * * * * RECAST_SCHEDULES=")
    assert lines[1].endswith("-m recast schedule run --quiet n # recast schedule n")
    written = (table.parent / "schedules/n.json").read_text()
    assert json.loads(written)["environment"]["AWS_ENDPOINT_URL"] == "http://here"
    assert "hidden" not in written
    capsys.readouterr()
    assert cli._status(["schedule", "list"]) == 0
    assert "not run yet" in capsys.readouterr().out
    assert cli._status(["schedule", "remove", "n"]) == 0
    assert table.read_text().splitlines() == lines[:1]
    assert cli._status(["schedule", "remove", "n"]) == exit_status.FAILED
    assert "there is no schedule 'n'" in capsys.readouterr().err


def test_a_commands_file_is_checked_now_and_found_later(table, tmp_path, monkeypatch, capsys):
    """By its whole path here; elsewhere it must lie on storage."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("scale: 4\nactors: 2\n")
    what = ["upscale", "-c", "job.yaml", "in", "out"]
    assert cli._status(["schedule", "install", "--no-check", "--cron", "@daily", "--name", "n", *what]) == 0
    kept = json.loads((tmp_path / "schedules/n.json").read_text())["command"]
    assert kept == ["upscale", "in", "out", "-c", str(tmp_path / "job.yaml")]
    assert cli._status(["schedule", "render", "--to", "kubernetes", *what]) == exit_status.BAD_USAGE
    assert "put it on storage" in capsys.readouterr().err
    (tmp_path / "job.yaml").write_text("scale: 7\n")
    assert cli._status(["schedule", "install", "--cron", "@daily", *what]) == exit_status.BAD_USAGE


def test_where_there_is_no_crontab_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("RECAST_SCHEDULES", str(tmp_path))
    assert cli._status(["schedule", "install", "--cron", "@daily", "upscale", "in", "out"]) == exit_status.FAILED
    assert "there is no crontab on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(("trouble", "says"), [("locked", "can't be read"), ("full", "disk quota exceeded")])
def test_a_crontab_that_gives_trouble_stays_as_it_is_and_no_schedule_is_left(table, trouble, says, capsys):
    """A crontab that can't be read is not an empty one."""
    table.write_text("0 1 * * * /usr/bin/something else\n")
    table.with_name(f"table.{trouble}").touch()
    assert install("upscale", "in", "out") == exit_status.FAILED
    assert says in capsys.readouterr().err
    assert table.read_text() == "0 1 * * * /usr/bin/something else\n"
    assert local.names() == []
    table.with_name(f"table.{trouble}").unlink()
    assert install("upscale", "in", "out") == 0
    table.with_name(f"table.{trouble}").touch()
    assert install("--replace", "--cron", "@hourly", "upscale", "in", "other") == exit_status.FAILED
    assert local.read("n")[0].cron == "@daily"


@pytest.mark.parametrize("left", ["table", "written"])
def test_what_is_left_of_a_schedule_can_be_removed(table, tmp_path, left):
    """Its line alone, or what was written down alone."""
    assert install("upscale", "in", "out") == 0
    (table if left == "written" else tmp_path / "schedules/n.json").unlink()
    assert cli._status(["schedule", "remove", "n"]) == 0
    assert not table.exists() or table.read_text() == ""
    assert local.names() == []


def test_systemd_that_refuses_leaves_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2; exit 1\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("RECAST_SCHEDULES", raising=False)
    assert install("--keeper", "systemd", "upscale", "in", "out") == exit_status.FAILED
    assert "Failed to connect to bus" in capsys.readouterr().err
    assert [path for path in (tmp_path / "config").rglob("*") if path.is_file()] == []


SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAhidden", "AWS_SECRET_ACCESS_KEY": "hidden1", "AWS_SESSION_TOKEN": "hidden2",
    "AZURE_STORAGE_KEY": "hidden3", "AZURE_STORAGE_CONNECTION_STRING": "hidden4", "AZURE_STORAGE_SAS_TOKEN": "hidden5",
    "AZURE_CLIENT_SECRET": "hidden6", "GOOGLE_API_KEY": "hidden7", "FSSPEC_S3": '{"secret": "hidden8"}',
    "FSSPEC_S3_KEY": "hidden9", "HTTPS_PROXY": "http://anna:hidden10@proxy:1",
}  # fmt: skip


def test_no_secret_is_written_down_and_what_will_be_missing_is_said(table, monkeypatch, capsys):
    """Neither half of a pair of keys: half a pair keeps the rest from being looked for elsewhere."""
    for name, value in {**SECRETS, "AWS_ENDPOINT_URL": "http://here", "AWS_PROFILE": "nightly"}.items():
        monkeypatch.setenv(name, value)
    assert install("upscale", "in", "out") == 0
    written = json.loads((table.parent / "schedules/n.json").read_text())
    assert not any(value in str(written) for value in SECRETS.values())
    assert written["environment"]["AWS_PROFILE"] == "nightly"
    assert written["environment"]["AWS_ENDPOINT_URL"] == "http://here"
    said = capsys.readouterr().err
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in said
    assert "~/.aws/credentials" in said
    assert install("upscale", "sftp://anna:word@host/in", "out", name="m") == exit_status.FAILED
    assert "writes no secrets down" in capsys.readouterr().err


def test_a_job_that_only_this_terminal_can_run_is_not_installed(table, tmp_path, monkeypatch, capsys):
    """Its passcode is in a variable that cron won't have."""
    image(tmp_path / "in/0.png", 0)
    monkeypatch.setenv("TONIGHT", "a long passcode")
    job = ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), "--detector", "cascades", "--seal"]
    words = ["schedule", "install", "--cron", "@daily", "--name", "n", *job]
    assert cli._status([*words, "--passcode-env", "TONIGHT"]) == exit_status.FAILED
    assert "the environment has no variable TONIGHT" in capsys.readouterr().err
    assert not table.exists()
    assert local.names() == []


def test_a_run_says_at_once_where_its_log_is_and_ends_its_job_when_told_to(table, tmp_path, monkeypatch, capsys):
    """The end of a job that was ended is written down as that."""
    assert install("models", "list") == 0
    capsys.readouterr()
    monkeypatch.setattr(local, "command", lambda schedule: ["/bin/sh", "-c", "echo begun; exec sleep 60"])
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    assert cli._status(["schedule", "run", "n"]) == exit_status.INTERRUPTED
    assert capsys.readouterr().err.startswith(f"n: running; its log is {tmp_path}/schedules/n.log\n")
    last = local.last_run("n")
    assert (last.status, last.outcome, last.said) == (143, "ended by SIGTERM", "begun")


def test_images_that_arrive_while_runs_are_fired_and_killed_are_settled_once(bucket, table, tmp_path):
    """The crontab's own line, fired again and again, sometimes over a run that is still at work; one run is killed."""
    source, output = tmp_path / "in", f"{bucket}/out"
    model = upscaler(tmp_path / "bundle")
    image(source / "0.png", 0)
    job = ["upscale", str(source), output, "--model", model, "--actors", "1"]
    assert cli._status(["schedule", "install", "--no-check", "--cron", "* * * * *", "--name", "often", *job]) == 0
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
    deadline = time.monotonic() + 300
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
