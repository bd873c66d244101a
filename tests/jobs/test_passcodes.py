"""Passcodes: a new one is typed twice, an old one is checked before any work, and none is taken that is no passcode."""

import json
import shutil

import pytest

from recast.jobs import cli, exit_status, passcodes
from recast.jobs.specs import SpecError
from recast.pipeline.deidentify.secrets import seal

OLD, NEW = "a passcode that nobody guesses", "another good passcode"


@pytest.fixture
def typing(monkeypatch):
    """A terminal at which the given lines are typed, one for each prompt; the prompts are kept."""

    class Terminal:
        @staticmethod
        def isatty():
            return True

    def types(*lines):
        prompts: list[str] = []
        left = list(lines)

        def asked(prompt):
            prompts.append(prompt)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr(passcodes.getpass, "getpass", asked)
        return prompts

    monkeypatch.setattr("sys.stdin", Terminal)
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    return types


@pytest.fixture
def command(photos, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(photos / "coffee.png", tmp_path / "in")
    (tmp_path / "boxes.json").write_text(json.dumps({n: [{"box": [10, 10, 60, 60]}] for n in ("coffee.png", "b.png")}))
    how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json"), "--seal"]
    return ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how]


def test_a_new_passcode_is_typed_twice_and_an_old_one_once(command, typing, tmp_path, worker_here, capsys):
    """Two that differ end the command before anything is written; later runs ask once, and check before any work."""
    shutil.copy(tmp_path / "in" / "coffee.png", tmp_path / "in" / "b.png")
    typing(OLD, OLD + "r")
    assert cli._status(command) == exit_status.BAD_USAGE
    assert "typed in two different ways" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    prompts = typing(OLD, OLD)
    assert cli._status([*command, "--limit", "1"]) == 0
    assert prompts == ["passcode: ", "passcode, once more: "]
    before = sorted((tmp_path / "out").rglob("*"))
    typing(OLD + "r")
    assert cli._status(command) == exit_status.FAILED
    assert "the passcode doesn't fit" in capsys.readouterr().err
    assert sorted((tmp_path / "out").rglob("*")) == before
    for again in ([*command, "--dry-run"], command, ["restore", str(tmp_path / "out"), str(tmp_path / "back")]):
        prompts = typing(OLD)
        assert cli._status(again) == 0
        assert prompts == ["passcode: "]


def test_rekey_checks_the_old_one_before_it_asks_for_the_new_one(command, typing, tmp_path, worker_here, capsys):
    """The lock stays as it is until everything is right."""
    shutil.copy(tmp_path / "in" / "coffee.png", tmp_path / "in" / "b.png")
    typing(OLD, OLD)
    assert cli._status(command) == 0
    lock = (tmp_path / "out" / "seals" / "lock.json").read_bytes()
    rekey = ["rekey", str(tmp_path / "out")]
    for lines, asked, says in (
        ([OLD + "r", NEW, NEW], ["passcode: "], "doesn't fit"),
        ([OLD, NEW, NEW + "r"], ["passcode: ", "new passcode: ", "new passcode, once more: "], "two different ways"),
        ([OLD, "short"], ["passcode: ", "new passcode: "], "has 5 bytes"),
        ([OLD], ["passcode: ", "new passcode: "], "no passcode was typed"),
    ):
        prompts = typing(*lines)
        assert cli._status(rekey) != 0
        assert says in capsys.readouterr().err
        assert prompts == asked
        assert (tmp_path / "out" / "seals" / "lock.json").read_bytes() == lock
    typing(OLD, NEW, NEW)
    assert cli._status(rekey) == 0
    typing(NEW)
    assert cli._status(["restore", str(tmp_path / "out"), str(tmp_path / "back")]) == 0


@pytest.mark.parametrize("value", ["", "\n", "        ", "\r\nlater lines", "short"])
def test_what_is_no_passcode_is_refused(value, tmp_path, monkeypatch):
    """Empty, blank and very short ones, wherever they come from."""
    (tmp_path / "code").write_bytes(value.encode())
    with pytest.raises(SpecError, match=r"is empty|has 5 bytes"):
        passcodes.passcode(str(tmp_path / "code"), None)
    monkeypatch.setenv("CODE", value.partition("\r")[0])
    with pytest.raises(SpecError, match=r"is empty|has 5 bytes"):
        passcodes.passcode(None, "CODE")
