"""Further inputs of a network are found by key, in outputs and tables; what can't give them is refused at once."""

import csv
import datetime
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recast.models.descriptor import NetworkInput
from recast.pipeline import storage
from recast.pipeline.output.index import write_fragment
from recast.pipeline.output.rows import Row
from recast.pipeline.output.rows import table as table_of
from recast.pipeline.sources import endings
from recast.pipeline.sources.contents import read
from recast.pipeline.sources.further_inputs import FurtherInput, FurtherInputs, packed, unpacked
from recast.pipeline.sources.input_providers import provider
from recast.pipeline.sources.inputs import Input
from recast.pipeline.sources.keyed_rows import KeyedRows
from recast.pipeline.sources.provided_rows import InputsError

POSE = NetworkInput(name="pose", kind="image")
CODE = NetworkInput(name="code", kind="code", channels=3, value_range=(-2.0, 2.0))
POINTS = NetworkInput(name="points", kind="points", channels=2)

NAMES = st.text(st.sampled_from("ab.pngj/é"), min_size=1, max_size=6)


def item(key: str, **facts) -> Input:
    return Input(**({"key": key, "source": key, "fingerprint": f"of {key}", "container": b"x"} | facts))


def table(path: Path, *rows: dict) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def parquet(path: Path, **columns) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


@given(st.lists(NAMES, unique=True, max_size=12), st.lists(NAMES, max_size=12))
def test_a_key_has_its_own_row_or_the_one_that_differs_in_its_ending_alone(known, asked):
    """Where several do, none."""
    found = KeyedRows(pa.table({"key": pa.array(known, pa.string())})).of(asked)
    stems = {key: [k for k in known if endings.without_ending(k) == endings.without_ending(key)] for key in asked}
    wanted = [key if key in known else stems[key][0] if len(stems[key]) == 1 else None for key in asked]
    assert [row and row["key"] for row in found] == wanted


@given(
    st.binary(max_size=20).filter(lambda name: b"\0" not in name),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    NAMES,
)
def test_a_further_input_travels_as_text_and_comes_back(container, numbers, key):
    """Names of files that are not UTF-8 too."""
    one = FurtherInput(name="pose", kind="image", place=item(key, container=container, layout="range", offset=3))
    other = FurtherInput(name="code", kind="code", numbers=tuple(numbers))
    text = packed([one, other])
    assert text.isascii()
    assert unpacked(text) == [one, other]


def test_files_that_a_table_names_are_read_beside_it_alone(tmp_path):
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/a.png").write_bytes(b"pose")
    url = table(
        tmp_path / "poses.csv",
        {"key": "a.jpg", "pose": "poses/a.png"},
        {"key": "b.jpg", "pose": "../b.png"},
        {"key": "c.jpg", "pose": ""},
    )
    good, outside, empty, none = provider(POSE, url).of(["a.jpg", "b.jpg", "c.jpg", "d.jpg"])
    assert read(good.given.place, 100) == b"pose"
    assert outside.given.place.problem.startswith("unsafe-name")
    assert empty.problem.startswith("no-input")
    assert none.problem == f"no-input: the network takes pose (image), and {url} has nothing of this key"


def test_images_in_a_parquet_table_are_known_by_their_content(tmp_path):
    """A row that is at another place in a table that was written anew is the same input."""
    url = parquet(tmp_path / "t.parquet", key=["a", "b", "c"], pose=[b"one", b"two", None])
    before = provider(POSE, url).of(["a", "b", "c"])
    assert [read(found.given.place, 100) for found in before[:2]] == [b"one", b"two"]
    assert before[2].problem.startswith("no-input")
    anew = parquet(tmp_path / "anew.parquet", key=["b", "a"], pose=[b"two", b"other"])
    after = provider(POSE, anew).of(["a", "b"])
    assert [a.fingerprint == b.fingerprint for a, b in zip(before[:2], after, strict=True)] == [False, True]


def test_numbers_come_from_lists_or_from_json_and_must_fit(tmp_path):
    codes = {"a": [0.5, 1, 2], "b": [1, 2], "c": [1, 2, 9], "d": None, "e": [1, 1, float("nan")]}
    url = parquet(tmp_path / "t.parquet", key=list(codes), code=list(codes.values()))
    good, short, outside, none, nan = provider(CODE, url).of(list(codes))
    assert good.given.numbers == (0.5, 1, 2)
    assert short.problem == "unfit-input: code: it has 2 numbers, and the network takes 3"
    assert outside.problem == "unfit-input: code: 9 is in it, and the network takes -2 to 2"
    assert none.problem.startswith("no-input")
    assert nan.problem == "unfit-input: code: a number is not finite"
    texts = ["[1, 2, 3, 4]", "[1, 2, 0.5, 3, 4, 1]", "[1]", "x", "{}"]
    url = table(tmp_path / "t.csv", *({"key": n, "points": text} for n, text in enumerate(texts)))
    found = [each.given and each.given.numbers for each in provider(POINTS, url).of(list("01234"))]
    assert found == [(1, 2, 3, 4), (1, 2, 3, 4), None, None, None]


def test_what_can_not_give_an_input_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "folder").mkdir()
    other = table(tmp_path / "other.csv", {"key": "a", "mask": "x"})
    twice = table(tmp_path / "twice.csv", {"key": "a", "pose": "x"}, {"key": "a", "pose": "y"})
    numbers = parquet(tmp_path / "numbers.parquet", key=["a"], pose=[[1.0]])
    for url, why in {
        str(tmp_path / "folder"): "it is neither an output nor a table",
        str(tmp_path / "gone.csv"): "it is neither an output nor a table",
        other: "needs the columns key and pose, and has no pose, but key, mask",
        twice: "several rows of the key a",
        numbers: r"holds list<.*double>, which is no pose \(image\)",
    }.items():
        with pytest.raises(InputsError, match=why) as refused:
            provider(POSE, url)
        assert refused.value.exit_status == 2
    endless = pa.array([[0.0] * (1 << 21)], pa.list_(pa.float32()))
    with pytest.raises(InputsError, match=r"code of .* holds 2,097,152 numbers in 1 rows; code \(code\) takes 3 a row"):
        provider(CODE, parquet(tmp_path / "endless.parquet", key=["a"], code=endless))
    with pytest.raises(InputsError, match=r"holds string, which is no code \(code\)"):
        provider(CODE, parquet(tmp_path / "texts.parquet", key=["a"], code=["x"]))


def output_of(folder: Path, *rows: dict) -> str:
    """An output whose rows are results without images, but for what they say."""
    fs, root = storage.filesystem(str(folder))
    facts = {"source": "s", "fingerprint": "f", "status": "ok", "model": "m", "spec": "s", "run": "r"}
    facts |= {"finished_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}
    (folder / "shards").mkdir(parents=True)
    write_fragment(fs, root, "a" * 20 + "-0.tar", table_of([Row(**(facts | row)) for row in rows], {}))
    return str(folder)


def test_an_output_gives_the_points_of_its_best_region_and_no_codes(tmp_path):
    def region(score: float, points: list[float] | None) -> dict:
        return {"kind": "face", "box": [0, 0, 9, 9], "score": score, "points": points}

    several = [region(0.5, [1, 2, 1, 3, 4, 1]), region(0.9, [5, 6, 1, 7, 8, 0]), region(1.0, None)]
    url = output_of(tmp_path / "out", {"key": "a.jpg", "regions": several}, {"key": "b.jpg", "regions": []})
    found, none = provider(POINTS, url).of(["a.png", "b.jpg"])
    assert found.given.numbers == (5, 6, 7, 8)
    assert none.problem == f"no-input: the network takes points (points), and {url} has no points for this key"
    with pytest.raises(InputsError, match=r"is an output, which has no code \(code\); give a table with key and code"):
        provider(CODE, url)


def test_points_without_an_image_are_shares_of_its_sides(tmp_path):
    """Those of an output become so by the size that its index tells; those of a table are so."""
    regions = [{"kind": "face", "box": [0, 0, 9, 9], "score": 1.0, "points": [10, 20, 30, -5]}]
    rows = {"key": "a", "regions": regions, "source_width": 40, "source_height": 50}, {"key": "b", "regions": regions}
    found, sizeless = provider(POINTS, output_of(tmp_path / "out", *rows), alone=True).of(["a", "b"])
    assert found.given.numbers == (0.25, 0.4, 0.75, -0.1)
    assert sizeless.problem.endswith("does not tell the size of the image of this key")
    url = parquet(tmp_path / "t.parquet", key=["a", "b"], points=[[0.25, 0.4, 0, 1], [10, 20, 30, 5]])
    shares, pixels = provider(POINTS, url, alone=True).of(["a", "b"])
    assert shares.given.numbers == (0.25, 0.4, 0, 1)
    assert pixels.problem == "unfit-input: points: 10 is in it, and the network takes 0 to 1"


def test_a_row_of_an_output_without_an_image_gives_none(tmp_path):
    url = output_of(tmp_path / "out", {"key": "a", "status": "failed", "error": "empty: x"}, {"key": "b"})
    failed, bare = provider(POSE, url).of(["a", "b"])
    assert failed.problem.endswith("has a row for this key that is failed")
    assert bare.problem.endswith("has no image for this key")


def test_a_fingerprint_covers_all_inputs_and_one_that_lacks_any_has_a_problem(tmp_path):
    def joined(*numbers: float) -> list[Input]:
        url = parquet(tmp_path / "t.parquet", key=["a", "b"][: len(numbers)], code=[[n] * 3 for n in numbers])
        return list(FurtherInputs({"code": provider(CODE, url)})([item("a"), item("b")]))

    before, changed, fewer = joined(0.0, 1.0), joined(0.0, 2.0), joined(0.0)
    assert [len({each[n].fingerprint for each in (before, changed, fewer)}) for n in (0, 1)] == [1, 3]
    assert all(each[0].fingerprint.startswith("of a+inputs:") for each in (before, changed, fewer))
    assert [each.problem.partition(":")[0] for each in fewer] == ["", "no-input"]
    assert np.allclose(json.loads(before[1].further)[0]["numbers"], [1, 1, 1])
