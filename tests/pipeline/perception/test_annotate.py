"""`recast annotate`: what networks see becomes rows, and pictures where they are asked for."""

import io

import numpy as np
import pytest
import skimage.data
from PIL import Image

from recast.jobs import cli
from recast.models.bundle import read, write
from recast.pipeline import storage
from recast.pipeline.output.index import current
from recast.pipeline.output.view import OutputFileSystem
from recast.pipeline.perception.drawing import drawn
from recast.pipeline.regions.region import Region
from tests.pipeline.bulk.bundle_operation import begun, segmenter

pytestmark = pytest.mark.usefixtures("worker_here")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return segmenter(tmp_path_factory.mktemp("model"), "person", "traffic light", "plate")


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("astronaut", "coffee"):
        Image.fromarray(getattr(skimage.data, name)()).resize((96, 80)).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in/text.png").write_bytes(b"hello")
    return str(tmp_path / "in")


def rows(output):
    fs, path = storage.filesystem(str(output))
    found = current(fs, path, ["key", "status", "error", "regions", "shard", "width", "source_width"])
    return {row["key"]: row for row in found.to_pylist()}


def annotate(*arguments):
    return cli._status(["annotate", *map(str, arguments), "--max-failed", "1"])


def test_every_image_gets_a_row_with_what_all_models_find_and_no_bytes(photos, model, tmp_path, capsys):
    """A second run does nothing; another model is an output of its own; an image alone gives the same."""
    assert annotate(photos, tmp_path / "out", "--model", model, "--model", "centerface") == 0
    found = rows(tmp_path / "out")
    assert {key: row["status"] for key, row in found.items()} == {
        "astronaut.png": "ok", "coffee.png": "ok", "text.png": "failed",
    }  # fmt: skip
    astronaut = found["astronaut.png"]
    assert (astronaut["shard"], astronaut["width"], astronaut["source_width"]) == (None, None, 96)
    kinds = {region["kind"] for region in astronaut["regions"]}
    assert "face" in kinds
    assert kinds & {"person", "traffic light", "plate"}
    assert [r["score"] for r in astronaut["regions"]] == sorted(
        (r["score"] for r in astronaut["regions"]), reverse=True
    )
    for region in astronaut["regions"]:
        assert (region["mask"] is None) == (region["kind"] == "face")
        assert region["category"] == {"face": None, "person": 3, "traffic light": 4, "plate": 5}[region["kind"]]
    capsys.readouterr()
    assert annotate(photos, tmp_path / "out", "--model", model, "--model", "centerface") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert annotate(photos, tmp_path / "out", "--model", model) != 0
    assert "a second output, joined by key, is the way to look with another model" in capsys.readouterr().err
    alone = [
        f"{photos}/astronaut.png",
        tmp_path / "alone",
        "--model",
        model,
        "--model",
        "centerface",
        "--format",
        "png",
    ]
    assert annotate(*alone) == 0
    assert rows(tmp_path / "alone")["astronaut.png"]["regions"] == astronaut["regions"]


def test_a_trained_detector_of_faces_annotates_faces(photos, tmp_path, capsys):
    """A bundle of `recast train retinaface`; no other kind can be asked of it."""
    faces = begun("retinaface", tmp_path / "faces")
    assert annotate(f"{photos}/astronaut.png", tmp_path / "out", "--model", faces) == 0
    regions = rows(tmp_path / "out")["astronaut.png"]["regions"]
    assert {(region["kind"], region["category"], region["mask"]) for region in regions} == {("face", None, None)}
    hidden = ["deidentify", photos, str(tmp_path / "hidden"), "--detector", faces, "--kinds", "plate"]
    assert cli._status(hidden) != 0
    assert "--kinds: nothing here finds 'plate'; what is found is face" in capsys.readouterr().err


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
def test_images_of_one_row_grey_ones_and_deep_ones_are_looked_at(model, tmp_path):
    (tmp_path / "in").mkdir()
    values = np.random.default_rng(0).integers(0, 255, (1, 300, 3), np.uint8)
    for name, pixels in (("row", values), ("dot", values[:, :1]), ("grey", np.full((9, 9), 7, np.uint8))):
        Image.fromarray(pixels).save(tmp_path / f"in/{name}.png")
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30) * 72).save(tmp_path / "in/deep.png")
    assert annotate(tmp_path / "in", tmp_path / "out", "--model", model, "--draw", "instances") == 0
    assert {(row["status"], row["regions"] is None) for row in rows(tmp_path / "out").values()} == {("ok", False)}
    assert picture(tmp_path / "out", "row.png").shape == (1, 300)


def test_values_that_are_no_numbers_are_a_failed_row(photos, tmp_path):
    folder = tmp_path / "model"
    segmenter(folder, "person")
    bundle, network = read((folder / "bundle.json").read_bytes(), (folder / "generator.safetensors").read_bytes())
    network.roi_heads.box_predictor.cls_score.bias.data[1] = 3e38
    network.roi_heads.box_predictor.cls_score.weight.data[1] = 3e38
    write(bundle, network, folder)
    assert annotate(photos, tmp_path / "out", "--model", folder) == 0
    assert rows(tmp_path / "out")["coffee.png"]["error"].startswith("not-finite:")


def picture(output, key):
    with OutputFileSystem(fo=str(output)).open(key) as file:
        return np.asarray(Image.open(io.BytesIO(file.read())))


def test_labels_and_instances_have_the_numbers_of_what_is_there(photos, model, tmp_path):
    assert annotate(photos, tmp_path / "labels", "--model", model, "--draw", "labels") == 0
    assert annotate(photos, tmp_path / "things", "--model", model, "--draw", "instances") == 0
    regions = rows(tmp_path / "labels")["coffee.png"]["regions"]
    labels, things = picture(tmp_path / "labels", "coffee.png"), picture(tmp_path / "things", "coffee.png")
    assert (labels.dtype, labels.shape, things.max() <= len(regions)) == (np.uint8, (80, 96), True)
    numbers = np.array([0, *(region["category"] for region in regions)])
    assert np.array_equal(numbers[things], labels)
    above = regions[0]["score"]
    assert annotate(photos, tmp_path / "few", "--model", model, "--draw", "instances", "--draw-above", above) == 0
    few = picture(tmp_path / "few", "coffee.png")
    assert np.array_equal(few, np.where(things == 1, 1, 0)), "the best alone"
    assert rows(tmp_path / "few")["coffee.png"]["regions"] == regions
    assert things.any()
    assert rows(tmp_path / "labels")["coffee.png"]["regions"] == rows(tmp_path / "things")["coffee.png"]["regions"]


def test_things_of_one_score_keep_the_numbers_of_their_rows():
    boxes = [(0.0, 0.0, 4.0, 4.0), (8.0, 0.0, 12.0, 4.0), (16.0, 0.0, 20.0, 4.0)]
    regions = [Region(kind="plate", box=box, score=0.5, detector="d", category=3) for box in boxes]
    numbers = drawn("instances", np.zeros((4, 20, 3), np.uint8), regions, ())
    assert numbers[0, ::8, 0].tolist() == [1, 2, 3]
    labels = drawn("labels", np.zeros((4, 20, 3), np.uint8), regions, ())
    assert np.array_equal(labels > 0, numbers > 0)
    assert set(np.unique(labels)) == {0, 3}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--draw", "labels", "--format", "jpeg"], "--draw labels: its values are numbers, which jpeg would change"),
        (["--draw", "labels", "--model", "centerface"], "numbers no categories"),
        (["--draw", "pose"], "none of the models gives keypoints"),
        (["--model", "centreface"], "did you mean centerface"),
    ],
)
def test_what_can_not_be_drawn_is_refused_before_work_starts(photos, model, tmp_path, arguments, why, capsys):
    assert annotate(photos, tmp_path / "out", "--model", model, *arguments) != 0
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_image_becomes_one_picture_and_never_a_spoilt_map(photos, model, tmp_path, capsys):
    image = f"{photos}/coffee.png"
    assert annotate(image, tmp_path / "seen.jpg", "--model", model, "--draw", "overlay") == 0
    assert Image.open(tmp_path / "seen.jpg").size == (96, 80)
    assert annotate(image, tmp_path / "map.jpg", "--model", model, "--draw", "labels") != 0
    assert annotate(image, tmp_path / "map.png", "--model", model) != 0
    assert "annotations are rows: name a folder, or say what to --draw" in capsys.readouterr().err


def test_stick_figures_are_drawn_of_keypoints(photos, tmp_path):
    model = segmenter(tmp_path / "model", "person", points=3)
    assert annotate(f"{photos}/astronaut.png", tmp_path / "out", "--model", model, "--draw", "pose") == 0
    drawn = picture(tmp_path / "out", "astronaut.png")
    assert drawn.shape == (80, 96, 3)
    assert 0 < (drawn > 0).any(-1).mean() < 0.9


def test_deidentification_replaces_the_kinds_that_are_named(photos, model, tmp_path, capsys):
    """Masks of what a network finds; a kind that nothing finds, or a detector left without one, is refused."""

    def deidentify(*arguments):
        return cli._status(["deidentify", photos, str(tmp_path / "out"), "--max-failed", "1", *arguments])

    assert deidentify("--detector", model, "--kinds", "plate,persn") != 0
    assert (
        "--kinds: nothing here finds 'persn'; what is found is person, traffic light, plate" in capsys.readouterr().err
    )
    assert deidentify("--detector", model, "--detector", "centerface", "--kinds", "plate") != 0
    assert "--kinds leaves nothing to centerface" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert deidentify("--detector", model, "--kinds", "plate") == 0
    found = rows(tmp_path / "out")
    assert {r["kind"] for row in found.values() for r in row["regions"] or ()} <= {"plate"}
    assert all(row["status"] in ("ok", "held") for row in found.values())
