"""Whatever ends a command is one sentence, with the right exit status, and a log where nobody foresaw it."""

import importlib
import pkgutil
import stat
import subprocess
import sys

import pytest
import ray

import recast
from recast.jobs import bulk, cli, errors, exit_status
from recast.models.description import BundleError
from recast.pipeline.storage import StorageError

INNER = {
    "BadPageError": "a Parquet row that can't be read becomes a row",
    "BadZipError": "a zip directory that can't be read on becomes a row",
    "EmptyBoxError": "a box without area in a table is a BoxesError, or counted",
    "HeaderFaultError": "a tar that can't be read on becomes a row",
    "NotAFileError": "a pipe or a device in place of an image becomes a row",
    "NotFiniteError": "tells the generator's caller to make a row of it",
    "OutlineError": "a bundle whose arguments are absurd is a BundleError",
    "TooLargeError": "a Parquet value beyond the limit becomes a row",
}
"""Exceptions that never leave the function which asked for them, and why."""


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state/recast"


def ended_by(fault, monkeypatch):
    def run(*_):
        raise fault

    monkeypatch.setattr(bulk, "run", run)
    return cli._status(["upscale", "in", "out"])


def modules():
    return [m.name for m in pkgutil.walk_packages(recast.__path__, "recast.") if not m.name.endswith("__main__")]


def test_each_exception_of_the_package_says_which_status_it_ends_a_command_with():
    """So that a new one can't end in a traceback because a list elsewhere doesn't know it."""
    kinds = {
        thing
        for name in modules()
        for thing in vars(importlib.import_module(name)).values()
        if isinstance(thing, type) and issubclass(thing, Exception) and thing.__module__.startswith("recast.")
    }
    assert len(kinds) > 15
    without = {kind.__name__ for kind in kinds if getattr(kind, "exit_status", None) not in (1, 2, 3)}
    assert without == set(INNER)


@pytest.mark.parametrize(("fault", "status"), [(StorageError("the disk is full"), 1), (BundleError("no bundle"), 2)])
def test_a_fault_that_was_foreseen_is_its_own_sentence(fault, status, logs, monkeypatch, capsys):
    assert ended_by(fault, monkeypatch) == status
    assert capsys.readouterr().err == f"error: {fault}\n"
    assert not logs.exists()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ValueError("line one\nthe last line"), "the last line"),
        (NotADirectoryError(20, "Not a directory", "/etc/hosts/x"), "not a directory: /etc/hosts/x"),
        (KeyError("width"), "there is no 'width' where one belongs"),
        (MemoryError(), "there is not enough memory"),
        (ZeroDivisionError(), "zero division error"),
        (StorageError(""), "storage error"),
        (RuntimeError("\x1b[31mred\x1b[0m"), "red"),
    ],
)
def test_a_fault_that_nobody_foresaw_is_a_sentence_and_a_log(fault, says, logs, monkeypatch, capsys):
    """The traceback is in a file for the user's eyes alone, and none of it on the terminal."""
    assert ended_by(fault, monkeypatch) == exit_status.FAILED
    said = capsys.readouterr().err
    (log,) = logs.iterdir()
    assert said == f"error: {says}; the details are in {log}\n"
    assert "Traceback" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_a_home_the_log_goes_to_a_temporary_folder(tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "taken"))
    monkeypatch.setattr(errors.tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    ended_by(ValueError("odd"), monkeypatch)
    (log,) = (tmp_path / "tmp").iterdir()
    assert str(log) in capsys.readouterr().err


def test_old_logs_make_room(logs, monkeypatch):
    """A job on a schedule may fail every minute."""
    monkeypatch.setattr(errors, "KEPT_LOGS", 3)
    for n in range(5):
        ended_by(ValueError(str(n)), monkeypatch)
    assert len(list(logs.iterdir())) == 3


def test_what_a_worker_raised_is_said_as_if_it_were_raised_here(logs, monkeypatch, capsys):
    """Ray wraps it, and Ray Data once more; a sentence of ours keeps its status."""
    wrapped = ray.exceptions.RayTaskError("f", "Traceback…", MismatchLikeError("made by another bundle"))
    assert ended_by(wrapped.as_instanceof_cause(), monkeypatch) == 2
    assert capsys.readouterr().err == "error: made by another bundle\n"
    user_code = ray.data.exceptions.UserCodeException("UDF failed")
    user_code.__cause__ = StorageError("the disk is full")
    assert ended_by(user_code, monkeypatch) == 1
    assert capsys.readouterr().err == "error: the disk is full\n"


class MismatchLikeError(StorageError):
    exit_status = 2


def test_a_reader_that_has_seen_enough_is_no_fault():
    """`recast models list | head -1`: no word on stderr."""
    command = f"{sys.executable} -m recast models list"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{command} | (exec 0<&-; sleep 0); echo ${{PIPESTATUS[0]}}"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "141")
