"""New faces, hidden names, sealed originals: made, brought back, measured and audited, over a real object store."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recast.jobs import cli
from recast.jobs.exit_status import FAILED
from recast.jobs.samples.faces import write_faces
from recast.pipeline import storage
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.output.index import current
from recast.pipeline.regions.tables import RegionTable
from tests.jobs.test_deidentify import everything_below
from tests.pipeline.bulk.bundle_operation import begun

PASSCODE = "a passcode that nobody guesses"


def rows_of(url):
    fs, path = storage.filesystem(str(url))
    columns = ["key", "source", "fingerprint", "status", "error", "shard", "offset", "length", "regions"]
    return {row["key"]: row for row in current(fs, path, columns).to_pylist()}


def pixels_of(url, row):
    fs, path = storage.filesystem(str(url))
    data = storage.read_bytes(fs, f"{path}/shards/{row['shard']}", row["offset"], row["length"])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_faces(str(folder), count=3, size_px=96)
    return folder


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "right").write_text(PASSCODE + "\n")
    (folder / "wrong").write_text("quite another passcode\n")
    return folder


def test_what_hides_names_and_faces_gives_them_back(drawn, secrets, bucket, tmp_path, worker_here, capsys):
    """Names are nowhere in the output, nor is the passcode; with it both ways lead back, with another one does not."""
    source, output, model = tmp_path / "in", f"{bucket}/out", str(tmp_path / "bundle")
    shutil.copytree(drawn / "scenes/train", source)
    begun("passcode", tmp_path / "bundle")
    how = ["--detector", "none", "--boxes", str(drawn / "scenes/train.parquet"), "--model", model, "--actors", "1"]
    right = ["--passcode-file", str(secrets / "right")]
    command = ["deidentify", str(source), output, *how, "--seal", "--keys", "hmac", "--shard-images", "2", *right]
    assert cli._status([*command, "--dry-run"]) == 0
    assert cli._status(command) == 0
    for name in ("scene-mary-smith.png", "t.png"):
        (source / name).write_bytes(b"\x89PNG no more")
    assert cli._status(command) == 0
    assert "3 done before" in capsys.readouterr().out
    published = rows_of(output)
    assert sorted(row["status"] for row in published.values()) == ["held", "held", "ok", "ok", "ok"]
    assert all(r["error"].startswith(("truncated: ", "not-an-image: ")) for r in published.values() if r["error"])
    assert all(row["source"].startswith("hmac:") and "scene" not in str(row) for row in published.values())
    assert all(r["action"] == "passcode" for row in published.values() for r in row["regions"] or ())
    shutil.copytree(storage_root(bucket, tmp_path), tmp_path / "copy", dirs_exist_ok=True)
    left = everything_below(tmp_path / "copy")
    assert b"scene-" not in left
    assert b"mary" not in left
    assert PASSCODE.encode() not in left
    assert verify(output).faults == []

    originals = {path.name: np.asarray(Image.open(path)) for path in source.glob("scene-0*.png")}
    assert cli._status(["restore", output, str(tmp_path / "exact"), *right]) == 0
    exact = rows_of(tmp_path / "exact")
    assert {name: row["status"] for name, row in exact.items()} == dict.fromkeys(originals, "ok")
    assert all(np.array_equal(pixels_of(tmp_path / "exact", exact[name]), originals[name]) for name in originals)
    back = {}
    for name in ("right", "wrong"):
        target = tmp_path / f"by-model-{name}"
        options = ["--model", model, "--passcode-file", str(secrets / name), "--actors", "1"]
        assert cli._status(["restore", output, str(target), *options]) == 0
        back[name] = rows_of(target)
    assert set(back["right"]) == set(originals)
    assert set(back["wrong"]) == {key for key, row in published.items() if row["status"] == "ok"}
    assert cli._status(["restore", output, str(tmp_path / "no"), "--passcode-file", str(secrets / "wrong")]) == FAILED

    assert cli._status(["audit", output, "--to", str(tmp_path / "audit.html"), "--signed-off-by", "Ada Reviewer"]) == 0
    page, said = (tmp_path / "audit.html").read_text(), json.loads((tmp_path / "audit.json").read_text())
    assert (said["counts"]["ok"], said["counts"]["held"], said["signed_off"]["by"]) == (3, 2, "Ada Reviewer")
    assert said["policy"]["names"] == "hmac"
    assert page.count("<img") == 3
    assert "scene-" not in page


def storage_root(bucket, tmp_path):
    """Everything in a bucket, as files."""
    fs, path = storage.filesystem(bucket)
    for name in fs.find(path):
        target = tmp_path / "objects" / name.removeprefix(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(fs.cat_file(name))
    return tmp_path / "objects"


def test_what_was_done_is_measured(drawn, secrets, tmp_path, worker_here, capsys):
    """A detector bundle that finds nothing, boxes that are brought; recall, recognition, PSNR, guessing; and images."""
    source, output, faces = drawn / "people/test", tmp_path / "out", drawn / "people/test.parquet"
    for recipe in ("deidentify", "retinaface", "recognizer"):
        begun(recipe, tmp_path / recipe)
    how = ["--detector", str(tmp_path / "retinaface"), "--boxes", str(faces), "--threshold", "0.99", "--doubt", "0.99"]
    right = ["--passcode-file", str(secrets / "right")]
    model = ["--model", str(tmp_path / "deidentify"), "--seal", "--consistent-by", "folder"]
    assert cli._status(["deidentify", str(source), str(output), *how, *model, *right, "--actors", "1"]) == 0
    assert cli._status(["restore", str(output), str(tmp_path / "back"), *right, "--actors", "1"]) == 0
    capsys.readouterr()
    measure = ["evaluate", "deidentify", str(source), str(output), "--faces", str(faces), "--json"]
    more = [
        "--recognizer",
        str(tmp_path / "recognizer"),
        "--restored",
        str(tmp_path / "back"),
        "--detector",
        "cascades",
    ]
    assert cli._status([*measure, *more]) == 0
    facts = json.loads(capsys.readouterr().out)
    known = len(RegionTable(str(faces)))
    assert (facts["faces"]["faces"], facts["faces"]["found"], facts["faces"]["recall"]) == (known, known, 1.0)
    assert facts["exact"] == {"after": 0.0, "restored": 1.0}
    assert facts["psnr_db"]["after"] < 30
    assert set(facts["recognised"]) == {"before", "after", "restored"}
    assert facts["identities"] * facts["chance"] == pytest.approx(1)
    assert facts["guessing"]["memory_mib_per_guess"] == 128
    years = facts["guessing"]["expected_years_by_bits_of_the_passcode"]
    assert years["80"] == pytest.approx(years["60"] * 2**20)
    assert cli._status(["evaluate", "images", str(tmp_path / "back"), str(source), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"] == facts["equal"] == len(list(source.rglob("*.png")))
    assert facts["ssim"] == pytest.approx(1)
    assert cli._status(["evaluate", "images", str(output), str(source)]) == 0
    assert "psnr db" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "/no/bundle"], "passcode"),
        (["--keys", "hmac"], "passcode"),
        (["--consistent-by", "clip("], "no regular expression"),
        (["--detector", "/no/bundle"], "there is nothing at /no/bundle"),
        (["--keys", "hmac", "--prune", "--include", "*.png", "--passcode-env", "RIGHT"], "--prune"),
        (["--model", "RECOGNIZER", "--passcode-env", "RIGHT"], "is not a face generator"),
        (["--model", "PASSCODE", "--consistent-by", "folder", "--passcode-env", "RIGHT"], "each image's own code"),
    ],
)
def test_mistakes_are_one_sentence(arguments, says, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("RIGHT", PASSCODE)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    (tmp_path / "in").mkdir()
    for recipe in ("passcode", "recognizer"):
        if recipe.upper() in arguments:
            begun(recipe, tmp_path / recipe)
            arguments = [str(tmp_path / recipe) if a == recipe.upper() else a for a in arguments]
    assert cli._status(["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_the_audit_is_of_de_identifications(tmp_path, capsys):
    (tmp_path / "out" / "runs").mkdir(parents=True)
    assert cli._status(["audit", str(tmp_path / "out")]) == FAILED
    assert "nothing to audit" in capsys.readouterr().err
