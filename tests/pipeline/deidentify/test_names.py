"""Hidden names: no part of any is left in an output, its page, its audit or its logs, and all of them come back."""

import io
import json
import re
import tarfile
import unicodedata
import urllib.parse
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.jobs import cli, exit_status
from recast.pipeline import storage
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.output.index import current
from recast.pipeline.sources.hidden import SENTENCES, UNSAID, sentence_of, storage_sentence_of, without_names
from recast.pipeline.sources.inputs import Input

PARTS = ("anna", "meier", "huber", "12.03.1985", "ward_", "zwiebel", "gruber", "ostermann", "müller", "/pii", "steiner")
"""What must not be found, in any case and in any form."""
PASSCODE = "a passcode that nobody guesses"


def picture(seed: int) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def source(tmp_path):
    """A folder of names as people have them: in endings, folders, archives, broken ones too."""
    folder = tmp_path / "pii" / "Ward_Oberhuber"
    (folder / "Anna Meier").mkdir(parents=True)
    names = [
        "Anna.Meier", "portrait.Huber", "scan 12.03.1985", "Anna Meier/Zwiebel_Anna.png", "Gruber.jpg", "a.png",
        unicodedata.normalize("NFD", "Müller.png"), "Steiner.tag", "100%25 Meier.PNG",
    ]  # fmt: skip
    for number, name in enumerate(names):
        (folder / name).write_bytes(picture(number))
    (folder / "Huber broken.png").write_bytes(picture(0)[:90])
    (folder / "im.jpg").write_bytes(b"no image im all")
    (folder / "Meier.zip").write_bytes(b"PK\x03\x04 no zip")
    (folder / "Ostermann.tar").write_bytes(b"no tar at all")
    with tarfile.open(folder / "Gruber files.tar", "w") as tar:
        for name, kind in (("Zwiebel/../Meier.png", tarfile.REGTYPE), ("link to Anna", tarfile.SYMTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "Meier"
            tar.addfile(member)
    with zipfile.ZipFile(folder / "Huber.zip", "w") as archive:
        archive.writestr("Anna/Steiner.Gruber", picture(20))
    return folder


def forms(part: str) -> set[bytes]:
    """A part of a name as it may be written: in both normal forms, quoted for URLs, escaped for JSON."""
    found = {unicodedata.normalize(form, part) for form in ("NFC", "NFD")}
    found |= {urllib.parse.quote(form).lower() for form in found} | {json.dumps(form)[1:-1].lower() for form in found}
    return {form.encode() for form in found}


def everything(folder) -> list[tuple[str, bytes]]:
    """Every file of an output by name, as bytes and, of tables, in words; pictures in pages and pixels left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                table = pq.ParquetFile(path).read()
                told = [n for n in table.column_names if n not in ("sealed", "image")]
                data = (str(table.select(told).to_pylist()) + str(table.schema.metadata)).encode()
            elif path.suffix == ".tar":
                with tarfile.open(path) as tar:
                    data = "\n".join(str(member.get_info()) for member in tar).encode()
            found.append((str(path.relative_to(folder)), data))
    return found


def without_pictures(data: bytes) -> bytes:
    return re.sub(rb"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", b"", data)


@pytest.fixture
def command(source, tmp_path, monkeypatch):
    """De-identification of that folder into itself, with everything that a user can bring names in by."""
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    (tmp_path / "code").write_text(PASSCODE)
    keys = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    boxes = {key: [{"box": [5, 5, 20, 20]}] for key in [*keys, "Huber.zip/Anna/Steiner.Gruber"]}
    for key, kind in (("a.png", "Oberhuber"), ("Gruber.jpg", "Plate"), ("Anna.Meier", "license plate")):
        boxes[key][0]["kind"] = kind
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    how = ["--detector", "none", "--boxes", tmp_path / "boxes.json", "--exclude", "*Huber broken*", "--seal"]
    hide = ["--keys", "hmac", "--consistent-by", r"Meier(\d+)", "--passcode-file", tmp_path / "code"]
    return list(map(str, ["deidentify", source, source / "out", *how, *hide]))


@pytest.mark.parametrize("shards", ["tar", "parquet"])
def test_no_part_of_a_name_is_left_and_all_come_back(
    command, source, tmp_path, shards, worker_here, capfd, monkeypatch
):
    """Index, shards, seals, manifests, report, audit, standard error and logs; then restore brings every name back."""
    monkeypatch.setenv("RECAST_LOG", "json")
    out = source / "out"
    assert cli._status([*command, "--shards", shards]) == 3  # the table names what was left out and what can't be read
    assert cli._status(["report", str(out)]) == 0
    assert cli._status(["audit", str(out), "--show-held"]) == 0
    files = everything(out)
    kinds = {"index", "shards", "seals", "runs", "report.html", "audit.html", "audit.json"}
    assert {name.partition("/")[0] for name, _ in files} >= kinds
    for name, data in [*files, ("stderr", capfd.readouterr().err.replace(str(out), "").encode())]:
        text = without_pictures(data).lower()
        assert (name, [form for part in PARTS for form in forms(part) if form in text]) == (name, [])
    fs, root = storage.filesystem(str(out))
    rows = current(fs, root, ["key", "status", "error", "regions"]).to_pylist()
    assert {r["kind"] for row in rows for r in row["regions"] or ()} == {"region", "other", "Plate", "license plate"}
    kinds = {"not-an-image", "not-an-archive", "unsafe-name", "not-a-file"}
    assert {row["error"] for row in rows if row["error"]} == {f"{kind}: {SENTENCES[kind]}" for kind in kinds}
    restore = ["restore", str(out), str(tmp_path / "back"), "--passcode-file", str(tmp_path / "code")]
    assert cli._status(restore) == 0
    fs, root = storage.filesystem(str(tmp_path / "back"))
    names = {path.relative_to(source).as_posix() for path in source.rglob("*") if "out" not in path.parts}
    without = {
        "Huber broken.png",
        "im.jpg",
        "Meier.zip",
        "Ostermann.tar",
        "Gruber files.tar",
        "Huber.zip",
        "Anna Meier",
    }
    assert set(current(fs, root, ["key"])["key"].to_pylist()) == names - without | {"Huber.zip/Anna/Steiner.Gruber"}


def test_nothing_tells_the_order_of_the_listing(tmp_path, worker_here, monkeypatch):
    """Rows, members of shards and times follow the hidden keys, which have nothing to do with the names."""
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    (tmp_path / "code").write_text(PASSCODE)
    (tmp_path / "in").mkdir()
    for number in range(40):
        (tmp_path / "in" / f"{number:02d}.png").write_bytes(picture(number))
    how = ["--detector", "none", "--boxes", str(tmp_path / "boxes.json"), "--keys", "hmac", "--shard-images", "10"]
    (tmp_path / "boxes.json").write_text(json.dumps({f"{n:02d}.png": [{"box": [1, 1, 9, 9]}] for n in range(40)}))
    assert (
        cli._status(
            ["deidentify", str(tmp_path / "in"), str(tmp_path / "out"), *how, "--passcode-file", str(tmp_path / "code")]
        )
        == 0
    )
    fs, root = storage.filesystem(str(tmp_path / "out"))
    rows = current(fs, root, ["key", "finished_at", "shard", "offset"]).to_pylist()
    assert len(rows) == 40
    by_time = [row["key"] for row in sorted(rows, key=lambda row: (row["finished_at"], row["offset"]))]
    assert by_time == sorted(by_time)
    for path in (tmp_path / "out" / "index").glob("*.parquet"):
        keys = pq.ParquetFile(path).read()["key"].to_pylist()
        assert keys == sorted(keys)


HIDDEN = Input(key="0f", source="hmac:0f", fingerprint="hmac:0f", container=b"file:///x/im.jpg", alias="im.jpg")
PLAIN = Input(key="im.jpg", source="file:///x/im.jpg", fingerprint="1+1", container=b"file:///x/im.jpg")


def test_what_is_said_of_a_hidden_input_quotes_nothing():
    """The same sentence for all faults of a kind, so that not even a gap in a word tells; other inputs' stay whole."""
    for kind in (*SENTENCES, "of-a-later-version"):
        fault = InputError(kind, "the image file:///x/im.jpg ends early, as %69m.jpg does")
        assert sentence_of(fault, HIDDEN) == SENTENCES.get(kind, UNSAID)
        assert sentence_of(fault, PLAIN) == fault.sentence
    held = HeldError("doubtful", "centerface gives a face 0.17, between 0.15 and 0.2")
    assert sentence_of(held, HIDDEN) == held.sentence
    gone = FileNotFoundError(2, "No such file", "/x/im.jpg")
    assert storage_sentence_of(gone, HIDDEN) == f"no such file; {UNSAID}"
    assert "/x/im.jpg" in storage_sentence_of(gone, PLAIN)


def test_kinds_that_a_user_made_up_are_hidden_too():
    """Words that are nobody's name stay as they are written; tracks, which may be named for people, are left out."""
    kinds = ["face", "License-Plate", "number plate", "Anna", "anna_plate", ""]
    regions = [{"kind": kind, "score": 1.0, "track": "anna"} for kind in kinds]
    assert {r["track"] for r in without_names(regions, HIDDEN)} == {None}
    assert [r["kind"] for r in without_names(regions, HIDDEN)] == [*kinds[:3], "other", "other", "other"]
    assert without_names(regions, PLAIN) == regions


def test_a_clash_names_nobody(tmp_path, capsys, monkeypatch, worker_here):
    """Two inputs of one key end a run with hidden names without their names, and say how to learn them."""
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    (tmp_path / "code").write_text(PASSCODE)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Meier.png").write_bytes(picture(1))
    (tmp_path / "boxes.json").write_text(json.dumps({"Meier.png": [{"box": [1, 1, 9, 9]}]}))
    command = [
        "deidentify",
        str(tmp_path / "a"),
        str(tmp_path / "out"),
        "--also",
        str(tmp_path / "b"),
        "--detector",
        "none",
    ]
    command += ["--boxes", str(tmp_path / "boxes.json"), "--passcode-file", str(tmp_path / "code")]
    assert cli._status([*command, "--keys", "hmac"]) == exit_status.BAD_USAGE
    assert "Meier" not in capsys.readouterr().err
    assert cli._status([*command, "--dry-run"]) == exit_status.BAD_USAGE
    assert "Meier.png" in capsys.readouterr().err
    assert not (tmp_path / "out" / "index").exists()
