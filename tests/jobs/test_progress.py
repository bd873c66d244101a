"""What a person reads while a job runs, and after it."""

import pytest

from recast.jobs import next_steps, progress
from recast.jobs.progress import BulkProgress, TimeLeft, span
from recast.jobs.training_progress import TrainingProgress
from recast.pipeline import events
from recast.pipeline.wording import pace
from tests.pipeline.bulk.bundle_operation import begun


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def at(seconds):
        now[0] = 1000.0 + seconds

    return at


def test_time_left_is_that_of_the_pace_between_bursts(clock):
    """The start of workers takes its time and says nothing of the pace."""
    left = TimeLeft(1000, 400)
    clock(30)
    assert left.reached(400) == ""
    assert left.reached(420) == ""
    clock(40)
    assert left.reached(440) == "5 min left"
    clock(100)
    assert left.reached(440) == "4 min left", "it goes on while a burst is awaited"


def test_time_left_is_there_after_the_first_minute_where_a_first_burst_is_all_there_is(clock):
    left = TimeLeft(100)
    clock(65)
    assert left.reached(10) == "10 min left"


def test_a_pipe_is_told_the_time_left_and_where_a_job_goes_on(clock, capsys):
    """In lines, for there is no bar."""
    with BulkProgress("upscale", "out") as shown:
        shown.planned(30, 10)
        clock(10)
        shown.reached(1, {})
        clock(30)
        shown.reached(2, {"failed": 1})
    first, *lines = capsys.readouterr().err.splitlines()
    assert first == "upscale: 30 inputs, 10 of them done before, 20 to do"
    assert lines[-1] == "upscale: 2 of 20, 15 s/image, 1 failed, 6 min left"


def test_a_slow_training_says_seconds_an_image_and_the_time_left(clock, capsys):
    with TrainingProgress("out") as shown:
        shown.planned(1000, 400)
        clock(60)
        shown.reached(420, {"images_per_s": 0.2, "G L1": 0.5})
        clock(100)
        shown.reached(440, {"images_per_s": 0.2, "G L1": 0.5})
    lines = " ".join(capsys.readouterr().err.split())
    assert "training: 440 of 1,000 steps, 19 min left, 5 s/image G L1 0.5" in lines


def test_paces_and_times_say_something_at_any_size():
    assert [pace(v) for v in (1234.5, 12.34, 0.5, 0.05, 0.0002)] == [
        "1,234 images/s", "12.3 images/s", "0.5 images/s", "20 s/image", "5e+03 s/image",
    ]  # fmt: skip
    assert [span(v) for v in (5, 600, 36000, 864000)] == ["5 s", "10 min", "10 h", "10 days"]


def test_after_a_job_comes_what_to_type_next(tmp_path, monkeypatch):
    """With places as they would be typed: relative below the working folder, quoted where a shell would split them."""
    monkeypatch.chdir(tmp_path)
    assert "`recast report 'my out'`" in next_steps.after_bulk("upscale", f"{tmp_path}/my out")
    assert "`recast audit s3://b/out`" in next_steps.after_bulk("deidentify", "s3://b/out")
    assert "extract" not in next_steps.after_bulk("upscale", "out", packed=False)
    begun("pix2pix", tmp_path / "runs/x/bundle")
    said = next_steps.after_training(f"{tmp_path}/runs/x")
    assert "`recast translate SOURCE OUTPUT --model runs/x/bundle`" in said


def test_logs_for_machines_have_no_advice(monkeypatch, capsys):
    monkeypatch.setenv(events.WANTED, "json")
    next_steps.say("`recast report out`")
    assert capsys.readouterr().err == ""
