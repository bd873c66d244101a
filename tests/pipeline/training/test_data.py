"""Training reads the pixels that are meant, from the files that are meant, or says why it doesn't."""

import io
import json
import re
import tarfile

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from recast.models.recipes.ranges import SettingError
from recast.pipeline.regions.tables import RegionTable
from recast.pipeline.sources.endings import without_ending
from recast.pipeline.training import example_files, layouts
from recast.pipeline.training.assets import fetched
from recast.pipeline.training.examples import ExampleCache
from recast.pipeline.training.preparation import prepared
from recast.pipeline.training.settings import TrainingError, TrainingSpec


def put(path, pixels=None, size=(40, 40)):
    """Write an image; without pixels any of that size (width, height), which differs by the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        seed = sum(str(path).encode())
        pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    if pixels.dtype == np.uint16:
        assert cv2.imwrite(str(path), pixels)
    elif path.suffix:
        Image.fromarray(pixels).save(path)
    else:
        Image.fromarray(pixels).save(path, "PNG")


def listed(folder, images=2, **options):
    return example_files.listed(str(folder), images, **options)


def pairs_of(listing):
    return [(e.key, *(item.key for item in e.inputs)) for e in listing.examples]


def shard_of(listing, images=2):
    rows = example_files.rows(listing.examples)
    return ExampleCache((example_files.read_row(row, images) for row in rows), 1 << 26)


@pytest.mark.parametrize(("name", "channels"), [("p.png", 3), ("p.png", 1), ("p.tif", 3), ("p.tif", 4)])
def test_sixteen_bits_give_their_high_byte(tmp_path, name, channels):
    """Whatever holds 16 bits is trained on as `recast evaluate` and the detectors see it."""
    put(tmp_path / "A" / "p.png")
    deep = np.full((40, 40, channels), 40000, np.uint16)
    deep[..., 3:] = 65535
    put(tmp_path / "B" / name, deep[..., 0] if channels == 1 else deep)
    left, right = shard_of(listed(tmp_path))[0].images
    assert np.array_equal(left, np.asarray(Image.open(tmp_path / "A" / "p.png")))
    assert right.shape == (40, 40, 3)
    assert (right == 40000 >> 8).all()


def test_sixteen_bits_side_by_side_are_cut_in_their_own_halves(tmp_path):
    """A|B in one 16-bit file: each half has its own pixels."""
    both = np.zeros((30, 60, 3), np.uint16)
    both[:, :30], both[:, 30:] = 20000, 60000
    put(tmp_path / "pair.png", both)
    left, right = shard_of(listed(tmp_path))[0].images
    assert (left == 20000 >> 8).all()
    assert (right == 60000 >> 8).all()


def test_sixteen_bits_of_a_style_image_and_of_faces(tmp_path):
    """The style image and images with faces come in 8 bits, too."""
    deep = np.full((50, 60, 3), 40000, np.uint16)
    put(tmp_path / "data" / "style.png", deep)
    asked = TrainingSpec(
        recipe="style_transfer", data=".", output="o", style_image=str(tmp_path / "data" / "style.png")
    )
    style = fetched(asked, ()).assets.style_image
    assert style.dtype == np.uint8
    assert (style == 156).all()
    (tmp_path / "faces.json").write_text(json.dumps([{"key": "style.png", "box": [10, 10, 30, 30]}]))
    table = RegionTable(str(tmp_path / "faces.json"))
    found = example_files.annotated(str(tmp_path / "data"), table, each=True)
    row = example_files.read_row(example_files.rows(found.examples)[0], 1, each_region=True)
    (part,) = ExampleCache([row], 1 << 20, region_columns=14)[0].images
    assert (part == 156).all()


def test_pixels_of_another_kind_than_bytes_are_refused(tmp_path):
    """A row whose bytes aren't as many as its shapes say never becomes an image."""
    put(tmp_path / "p.png")
    row = example_files.read_row(example_files.rows(listed(tmp_path, 1).examples)[0], 1)
    with pytest.raises(TrainingError, match="9,600 bytes where its images have 4,800"):
        ExampleCache([row | {"pixels": row["pixels"] * 2}], 1 << 20)


def test_transparent_parts_are_trained_on_over_white(tmp_path):
    """Colours hidden under transparent pixels are nobody's wish; how many images had such is said."""
    hidden = np.full((20, 20, 4), 77, np.uint8)
    hidden[:10, :, 3], hidden[10:, :, 3] = 0, 255
    Image.fromarray(hidden, "RGBA").save(tmp_path / "p.png")
    shard = shard_of(listed(tmp_path, 1), 1)
    (image,) = shard[0].images
    assert (image[:10] == 255).all()
    assert (image[10:] == 77).all()
    assert shard.notes == {example_files.TRANSPARENT: 1}


@pytest.mark.parametrize(
    ("a", "b", "others"),
    [
        ("A", "B", ()),
        ("a", "b", ()),
        ("trainA", "trainB", ("testA/7.png", "testB/8.png", "valA/1.png")),
        ("train_A", "train_B", ("test_A/7.png", "test_B/8.png")),
        ("input", "target", ()),
        ("Inputs", "Targets", ()),
        ("set/A", "set/B", ()),
        ("A/train", "B/train", ("A/val/7.png", "B/val/7.png", "A/test/9.png", "B/test/9.png")),
        ("train/A", "train/B", ("test/A/1.png", "test/B/1.png", "val/A/3.png", "val/B/3.png")),
        ("train/input", "train/target", ("test/input/1.png", "test/target/1.png")),
    ],
)
def test_two_folders_of_pairs_by_the_names_that_people_give_them(tmp_path, a, b, others):
    """Each image has its partner, of train alone where there are test and val, and what was taken for what is said."""
    for number in range(3):
        put(tmp_path / a / f"{number}.png")
        put(tmp_path / b / f"{number}.jpg")
    for name in others:
        put(tmp_path / name)
    found = listed(tmp_path)
    assert [pair[1:] for pair in pairs_of(found)] == [(f"{a}/{n}.png", f"{b}/{n}.jpg") for n in range(3)]
    assert any(said.startswith("3 pairs: A from ") for said in found.said), found.said
    left_out = f"{len(others)} images of test and val left out"
    assert any(left_out in said for said in found.said) == bool(others)
    domains = listed(tmp_path, paired=False)
    assert len(domains.examples) == 3
    taken = [{item.key for e in listing.examples for item in e.inputs} for listing in (domains, found)]
    assert taken[0] == taken[1]


@pytest.mark.parametrize(
    "names",
    [
        ("A/1.png", "a/1.png", "B/1.png"),  # which of the two is A?
        ("A/1.png", "B/1.png", "trainA/1.png", "trainB/1.png"),
        ("A/1.png", "trainB/1.png"),
        ("A/1.png", "target/1.png"),
        ("A/1.png", "2.png"),
        ("set/A/1.png", "set/B/1.png", "other/A/1.png"),
        ("testA/1.png", "testB/1.png"),
        ("photos/1.png", "labels/1.png"),  # the same names in two folders
        ("x_A.png", "x_B.png"),
        ("x_real.png", "x_label.png", "y_real.png", "y_label.png"),
    ],
)
def test_what_is_nearly_a_pair_of_folders_is_refused(tmp_path, names):
    """In doubt nothing is trained on; the sentence lists what is accepted. Even images twice as wide don't hide it."""
    for name in names:
        put(tmp_path / name, size=(80, 40))
    with pytest.raises(TrainingError, match="folders A and B .or a and b, trainA and trainB"):
        listed(tmp_path)


def test_single_photographs_are_no_pairs(tmp_path):
    """Photographs, odd widths and strips are refused with their sizes; two squares side by side are said, with one."""
    put(tmp_path / "one.png", size=(80, 40))
    put(tmp_path / "two.png", size=(120, 60))
    assert listed(tmp_path).said == ("2 files, each taken for A|B side by side, e.g. 80x40",)
    for number, size in enumerate([(40, 40), (81, 40), (120, 40), (1, 1)]):
        put(tmp_path / f"z{number}.png", size=size)
    with pytest.raises(
        TrainingError, match=r"4 of 6 images are no A\|B side by side.*z0\.png \(40x40\), z1.png \(81x40\)"
    ):
        listed(tmp_path)


def test_every_image_is_looked_at(tmp_path, monkeypatch):
    """What the first look passes over, the workers see: the promise is for all."""
    monkeypatch.setattr(example_files, "LOOKED_AT", 1)
    put(tmp_path / "a.png", size=(80, 40))
    put(tmp_path / "b.png", size=(50, 40))
    assert shard_of(listed(tmp_path)).unfit == ["b.png (50x40)"]


def test_stems_that_come_twice_are_matched_by_their_whole_names(tmp_path):
    """0.png and 0.jpg in both folders are two pairs; what then has no partner is named."""
    for side in "AB":
        for name in ("0.png", "1.png", "0.jpg", "1.jpg"):
            put(tmp_path / side / name)
    found = pairs_of(listed(tmp_path))
    assert [pair[1:] for pair in found] == [
        (f"A/{n}.{ending}", f"B/{n}.{ending}") for n in (0, 1) for ending in ("jpg", "png")
    ]
    (tmp_path / "B" / "1.jpg").unlink()
    with pytest.raises(TrainingError, match=r"A/1\.jpg is in only one of the folders A and B; each image needs"):
        listed(tmp_path)


def test_names_without_endings_and_with_many_dots_stay_whole(tmp_path):
    """img0 … img5 are six pairs, and so are shot.0001.png …; letters that are written in two ways are the same."""
    names = [f"img{n}" for n in range(6)] + [f"shot.000{n}.png" for n in range(3)]
    for name in names:
        put(tmp_path / "A" / name)
        put(tmp_path / "B" / name)
    put(tmp_path / "A" / "caf\u00e9.png")
    put(tmp_path / "B" / "cafe\u0301.png")
    found = pairs_of(listed(tmp_path))
    assert len(found) == 10
    assert {key for key, *_ in found} == {without_ending(name) for name in names} | {"caf\u00e9"}


def test_what_is_no_image_is_passed_over_and_counted(tmp_path):
    """Sidecars and hidden files need no partner; each kind is said with a name."""
    for side in "AB":
        put(tmp_path / side / "1.png")
    (tmp_path / "A" / "labels.txt").write_text("x")
    (tmp_path / "A" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "A" / ".ipynb_checkpoints" / "1-checkpoint.png").write_bytes(b"x")
    (tmp_path / "B" / "._1.png").write_bytes(b"x")
    (tmp_path / "notes.json").write_text("{}")
    pq.write_table(pa.table({"key": ["A/1.png"]}), tmp_path / "boxes.parquet")
    found = listed(tmp_path)
    assert len(found.examples) == 1
    assert "left out 2 files (hidden): A/.ipynb_checkpoints/1-checkpoint.png among others" in found.said
    assert "left out 2 files (no images by their names): A/labels.txt among others" in found.said
    put(tmp_path / "C" / "extra.png")
    assert "left out 1 image beside these folders: C/extra.png" in listed(tmp_path).said
    assert "left out 1 file (tables without images): boxes.parquet" in found.said


def test_outputs_among_the_data_are_left_out(tmp_path):
    """A training's own output and what other runs and bundles left are no examples, by whatever path they are named."""
    for number in range(3):
        put(tmp_path / "photos" / f"{number}.png")
    for name in (
        "run/bundle/preview.png",
        "run/logs/samples/step-1.png",
        "old/logs/samples/step-1.png",
        "m/preview.png",
    ):
        put(tmp_path / "photos" / name)
    for name in ("run/run.json", "old/run.json", "m/bundle.json"):
        (tmp_path / "photos" / name).write_text("{}")
    for name in ("up/index/b=0/x.parquet", "up/shards/b=0/x.tar"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
    pq.write_table(pa.table({"key": ["a"]}), tmp_path / "photos" / "up/index/b=0/x.parquet")
    with tarfile.open(tmp_path / "photos" / "up/shards/b=0/x.tar", "w") as tar:
        tar.add(tmp_path / "photos" / "0.png", "enlarged.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    for output in ("photos/run", "link/run"):
        found = listed(tmp_path / "photos", 1, output=str(tmp_path / output))
        assert [example.key for example in found.examples] == ["0.png", "1.png", "2.png"]
        assert any("this training's own output" in said for said in found.said)
        assert any("outputs of Recast" in said for said in found.said)


def test_data_may_lie_in_the_folder_of_the_output(tmp_path):
    """Photographs in the output's own folder, or further down, are data; what the training wrote beside them isn't."""
    for name in ("0.png", "deep/1.png", "logs/samples/1.png", "bundle/preview.png"):
        put(tmp_path / name)
    for url, keys in ((tmp_path, ["0.png", "deep/1.png"]), (tmp_path / "deep", ["1.png"])):
        assert [e.key for e in listed(url, 1, output=str(tmp_path)).examples] == keys


def test_a_digest_tells_whether_images_came_or_went(tmp_path):
    """It is of names and sizes, wherever the images lie."""
    for folder in ("one", "two"):
        put(tmp_path / folder / "a.png", np.zeros((9, 9, 3), np.uint8))
    before = listed(tmp_path / "one", 1).digest
    assert before == listed(tmp_path / "two", 1).digest
    put(tmp_path / "two" / "b.png")
    assert before != listed(tmp_path / "two", 1).digest


def test_tables_and_files_are_not_mixed(tmp_path):
    """Pairs in Parquet beside loose images are refused, whichever is listed first; a column of pairs is looked at."""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(buffer, "PNG")
    pq.write_table(pa.table({"image": [buffer.getvalue()]}), tmp_path / "m.parquet")
    assert "each taken for A|B" in listed(tmp_path).said[0]
    for name in ("a.png", "z.png"):
        put(tmp_path / name, size=(40, 20))
        with pytest.raises(TrainingError, match="has pairs in Parquet files and images beside them"):
            listed(tmp_path)
        (tmp_path / name).unlink()


def test_classes_are_those_of_train(tmp_path):
    """train/ and test/ are no classes; the folders in train/ are."""
    for name in ("train/cat/1.png", "train/dog/1.png", "test/cat/1.png"):
        put(tmp_path / name)
    found = listed(tmp_path, 1, labelled=True)
    assert layouts.classes(found.examples) == ("cat", "dog")
    assert re.search("1 image of test and val left out", " ".join(found.said))


def test_the_a_side_of_a_pair_may_come_from_elsewhere_by_key(tmp_path):
    """The images are the B sides then, with or without folders of pairs; those that lack an A side are left out."""
    for name in ("a.png", "sub/b.png", "c.png"):
        put(tmp_path / "photos" / name)
        put(tmp_path / "pairs/A" / name)
        put(tmp_path / "pairs/B" / name)
    for name in ("a", "b"):
        put(tmp_path / f"poses/{name}.png")
    table = tmp_path / "poses.csv"
    table.write_text("key,A\na.png,poses/a.png\nsub/b.jpg,poses/b.png\n")
    for folder in ("photos", "pairs"):
        found = example_files.paired_with(str(tmp_path / folder), str(table))
        assert "1 image without an A side left out" in found.said[-1]
        shard = shard_of(found)
        for n, name in enumerate(("a.png", "sub/b.png")):
            b = tmp_path / ("pairs/B" if folder == "pairs" else "photos") / name
            for side, path in zip(shard[n].images, (tmp_path / "poses" / name.rpartition("/")[2], b), strict=True):
                assert np.array_equal(side, np.asarray(Image.open(path)))
    table.write_text("key,A\nx.png,poses/a.png\n")
    with pytest.raises(TrainingError, match=r"has no image of the key of any image at .*photos, a\.png first"):
        example_files.paired_with(str(tmp_path / "photos"), str(table))


@pytest.mark.parametrize(("recipe", "name"), [("cyclegan", "A"), ("srresnet", "A"), ("pix2pix", "pose")])
def test_inputs_that_a_recipe_has_no_use_for_are_refused(tmp_path, recipe, name):
    put(tmp_path / "photos/a.png")
    plan = TrainingSpec(
        recipe=recipe, data=str(tmp_path / "photos"), output=str(tmp_path / "out"), inputs={name: str(tmp_path)}
    )
    with pytest.raises(SettingError, match=f"{recipe} does not take --input {name}"):
        prepared(plan)
