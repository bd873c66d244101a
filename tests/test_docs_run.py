"""Every command that the documentation shows runs, on small files of the kinds that it speaks of.

Trainings are asked for and not begun (`--dry-run`), for each takes a quarter of a minute; every recipe is trained in
tests/pipeline/training. RECAST_TEST_TRAININGS=1 has them do two steps, of the smallest preset. What needs a cluster is
marked on its page.
"""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from recast.jobs import app as jobs_app
from recast.jobs import cli
from recast.jobs.samples.faces import write_faces
from recast.jobs.samples.street import write_street
from recast.models.descriptor import NetworkInput
from recast.models.networks.vgg import VGG
from recast.pipeline import storage
from tests.jobs.schedules.test_local import CRONTAB
from tests.models.originals import ESRGAN, Retina
from tests.models.test_recipes import smallest
from tests.pipeline.bulk.bundle_operation import begun, drawing, posed
from tests.pipeline.bulk.test_road import image

ROOT = Path(__file__).parent.parent
PAGES = [p for p in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]) if "\n    recast " in p.read_text()]
CLUSTER = "<!-- needs a cluster -->"
TRAININGS = bool(os.environ.get("RECAST_TEST_TRAININGS"))
JOBS = sorted((ROOT / "docs/jobs").glob("*.yaml"))
WRITERS = ("upscale", "translate", "deidentify", "restore", "annotate")
BUCKET = "s3://bucket"


def commands(page: Path) -> list[tuple[bool, list[str]]]:
    """The whole `recast` commands of a page in order, and whether each is marked as needing a cluster."""
    found, marked = [], False
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("    recast ") and not re.search(r"…|\[|SOURCE", line):
            found.append((marked, shlex.split(line, comments=True)[1:]))
        elif line.strip() and not line.startswith("    "):
            marked = line == CLUSTER
    return found


def saved(network: torch.nn.Module, file: Path, prefix: str = "") -> None:
    torch.save({prefix + key: value for key, value in network.state_dict().items()}, file)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A reader's folder, with all that the pages take for granted; `bucket/` is what is in the reader's bucket."""
    folder = tmp_path_factory.mktemp("reader")
    write_faces(str(folder / "drawn"), count=3, size_px=96)
    drawn = folder / "drawn/people/train"
    table = pq.read_table(f"{drawn}.parquet")
    letters = dict(zip(sorted(set(table["key"].to_pylist())), ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), strict=False))
    rows = [{**row, "key": letters[row["key"]]} for row in table.to_pylist() if row["key"] in letters]
    write_street(str(folder / "street"), count=3, size_px=96)
    image(folder / "photo.jpg")
    for photos in ("photos", "scans", "wider", "bucket/photos", "faces/people/test", "faces/scenes/test"):
        for key, name in letters.items():
            put(folder / photos / name, (drawn / key).read_bytes())
    for name in ("faces", "plates", "wider", "faces/people/test", "faces/people/train", "faces/scenes/train"):
        pq.write_table(pa.Table.from_pylist(rows, table.schema), folder / f"{name}.parquet")
    for n in range(3):
        for pairs in ("pairs", "bucket/pairs"):
            image(folder / pairs / f"{n}.png", n, (64, 128))
        for pool in ("horse2zebra/A", "horse2zebra/B", "horses", "zebras", "classes/one", "classes/two"):
            image(folder / pool / f"{n}.png", n, (64, 64))
    for name in ("archive", "labels", "bucket/photos", "bucket/archive"):
        shutil.make_archive(str(folder / name), "tar", folder / "horses")
    shutil.make_archive(str(folder / "bucket/scans/one"), "zip", folder / "horses")
    for name in ("mosaic.jpg", "style.png"):
        image(folder / name, 1, (64, 64))
    for file in JOBS:
        shutil.copy(file, folder)
    put(folder / "passcode.txt", b"a passcode for the readers\n")
    put(folder / "new.txt", b"another one for the readers\n")
    for recipe, name in (
        ("pix2pix", "facades"), ("cyclegan", "zebras"), ("srgan", "srgan"), ("srresnet", "x4"),
        ("srresnet", "srresnet"),
        ("style_transfer", "mosaic"), ("deidentify", "deidentify"), ("passcode", "passcode"),
        ("retinaface", "retinaface"), ("centernet", "centernet"), ("mask_rcnn", "mask_rcnn"),
        ("recognizer", "recognizer"),
    ):  # fmt: skip
        begun(recipe, folder / "runs" / name / "bundle")
    posed(folder / "runs/posed/bundle", NetworkInput(name="pose", kind="image", channels=1))
    drawing(folder / "runs/drawing/bundle", NetworkInput(name="code", kind="code", channels=2))
    put(folder / "codes.csv", b'key,code\nfirst,"[0.5, 1]"\nsecond,"[0, 0.25]"\n')
    put(
        folder / "poses.csv",
        "".join(["key,pose\n", *(f"{n},{folder}/photos/{n}\n" for n in letters.values())]).encode(),
    )
    for name in ("training", "runs/pix2pix"):
        shutil.copytree(folder / "runs/facades/bundle", folder / "bucket" / name / "bundle")
    saved(VGG(blocks=[[4] * 2, [4] * 2, [8] * 4, [8] * 4, [8] * 4]), folder / "vgg19.pth")
    begun("classifier", folder / "runs/features/bundle", depth=2)
    if not TRAININGS:  # the paper's network, for `--dry-run` looks whether the bundle fits
        paper = {"network": "srresnet", "scale": 4, "channels": 64, "blocks": 16}
        begun("srresnet", folder / "runs/srresnet/bundle", **paper)
    saved(ESRGAN(4), folder / "RealESRGAN_x4plus.pth")
    saved(Retina("resnet50"), folder / "Resnet50_Final.pth", "module.")
    (folder / "bin").mkdir()
    put(folder / "bin/crontab", CRONTAB.encode())
    (folder / "bin/crontab").chmod(0o755)
    return folder


def fitted(words: list[str], bucket: str) -> list[str]:
    """A command on this reader's bucket, and no larger than it must be."""
    words = [word.replace(BUCKET, bucket) for word in words]
    words = ["vgg19.pth" if word.startswith("https://") and word.endswith(".pth") else word for word in words]
    job = words[0]
    for option, least in (("--count", "3"), ("--scale", "2"), ("--size", "64x")):
        if option in words and job not in ("train", "sample" if option == "--size" else ""):
            words[words.index(option) + 1] = least
    if job == "train":
        if not TRAININGS:
            return [*words, *([] if "--dry-run" in words else ["--dry-run"])]
        published = {"--preset", "--start-from"} <= set(words)  # a published network is as large as it is
        for option in ("--workers", "--gpus-per-worker", "--set", *(() if published else ("--preset",))):
            while option in words:
                del words[words.index(option) : words.index(option) + 2]
        words += ["--set", "batch_size=1"] if published else ["--preset", smallest(words[1])]
        return [*words, "--steps", "2", "--workers", "1", "--checkpoint-every", "2"]
    if words[:2] == ["plan", "train"]:
        return [*words, "--preset", smallest(words[2]), "--set", "batch_size=4"]
    if words[:2] == ["schedule", "install"]:  # the store's keys are in this test's environment, where cron has none
        return [*words[:2], "--no-check", "--replace", *words[2:]]
    # Other pages were here before.
    if job in ("sample", "audit") or words[:2] in (["models", "import"], ["models", "export"], ["index", "export"]):
        return [*words, "--replace"]
    return [*words, *(["--actors", "1"] if job in WRITERS else [])]


def emptied(url: str) -> None:
    """Make way for a command whose output an earlier one of the page may have begun with other settings."""
    fs, path = storage.filesystem(url)
    if fs.exists(path):
        fs.rm(path, recursive=True)


@pytest.mark.timeout(480)
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page_run(page, place, bucket, monkeypatch, capsys, request):
    fs, path = storage.filesystem(bucket)
    fs.put(f"{place}/bucket/", path, recursive=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{place}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("TABLE", str(place / "crontab"))
    monkeypatch.setenv("RECAST_SCHEDULES", str(place / "schedules"))
    emptied("out")
    request.getfixturevalue("ray_local" if TRAININGS else "worker_here")
    for needs_cluster, words in commands(page):
        if needs_cluster:
            jobs_app.understood(words)
            continue
        if words[0] in WRITERS:
            emptied(fitted(words, bucket)[2])
        elif "out/" in words and not (place / "out").exists():
            assert cli._status(["upscale", "photos", "out", "--actors", "1"]) == 0
        asked = fitted(words, bucket)
        assert cli._status(asked) == 0, (shlex.join(asked), capsys.readouterr().err)


@pytest.mark.parametrize("page", ["output-format.md", "reference/README.md"])
def test_python_of_a_page_runs(page, place, bucket, worker_here, monkeypatch):
    """From the first block to the last, as in one session, on outputs of `recast upscale photos/`."""
    monkeypatch.chdir(place)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)
    outputs = {"out": [], "stored": ["--shards", "parquet"], "plain": ["--shards", "files"], f"{BUCKET}/out": []}
    for output, more in outputs.items():
        if any(output in block for block in blocks):
            emptied(output.replace(BUCKET, bucket))
            words = ["upscale", "photos", output.replace(BUCKET, bucket), "--actors", "1", *more]
            assert cli._status(words) == 0
    session: dict = {}
    for block in blocks:
        exec(block.replace(BUCKET, bucket), session)


@pytest.fixture
def sealed(place, worker_here, monkeypatch) -> Path:
    """The reader's folder as the present one, with the output that docs/jobs/restore.yaml opens."""
    monkeypatch.chdir(place)
    if not (place / "sealed").exists():  # other pages may have put something else there
        emptied("clean")
        (place / "sealed").touch()
        assert cli._status(["deidentify", "-c", str(ROOT / "docs/jobs/deidentify.yaml"), "--actors", "1"]) == 0
    return place


def job_of(file: Path) -> list[str]:
    """The command that a job file names in its first line, with that file by its full path."""
    words = shlex.split(file.read_text().splitlines()[0].removeprefix("# recast "))
    assert words[-2:] == ["-c", file.name]
    return [*words[:-1], str(file)]


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_a_job_file_is_a_whole_job(file, sealed, capsys):
    """Bulk jobs and trainings check all that they are asked for; what can't be tried so is understood."""
    words = job_of(file)
    if words[0] == "evaluate":
        jobs_app.understood(words)
    else:
        if (output := yaml.safe_load(file.read_text()).get("output", "clean/")) != "clean/":
            emptied(output)
        asked = words if words[0] == "plan" else [*words, "--dry-run"]
        assert cli._status(asked) == 0, capsys.readouterr().err


@pytest.mark.parametrize("file", JOBS, ids=lambda file: file.name)
def test_what_a_job_file_offers_in_comments_is_taken(file, tmp_path):
    """Each option that is commented out, beside those that are not."""
    text = file.read_text()
    for offered in re.findall(r"^# ([a-z_]+: .*)$", text, re.MULTILINE):
        (tmp_path / file.name).write_text(yaml.safe_dump(yaml.safe_load(text) | yaml.safe_load(offered)))
        jobs_app.understood([*job_of(file)[:-1], str(tmp_path / file.name)])


def test_what_needs_a_cluster_is_marked():
    """`submit` and `jobs` talk to a job server; tests/jobs/test_submission.py does so."""
    for page in PAGES:
        for marked, words in commands(page):
            assert marked or words[0] not in ("submit", "jobs"), (page, words)


def test_the_notebook_runs_and_ends_with_a_picture(tmp_path, monkeypatch, worker_here):
    """Its code, cell by cell, as in one session; what it shows last is in it."""
    monkeypatch.chdir(tmp_path)
    cells = [
        cell for cell in json.loads((ROOT / "docs/python.ipynb").read_text())["cells"] if cell["cell_type"] == "code"
    ]
    session: dict[str, object] = {}
    for cell in cells:
        exec(compile("".join(cell["source"]), "docs/python.ipynb", "exec"), session)  # our own
    assert "image/png" in cells[-1]["outputs"][-1]["data"]
    assert session["after"].size == (128, 128)  # type: ignore[attr-defined]
