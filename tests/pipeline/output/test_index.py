"""The index: what is current, what is settled, and what doesn't count."""

import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.bulk.completed import read_completed
from recast.pipeline.output import index, rows
from recast.pipeline.sources.inputs import Input

EPOCH = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def row(key: str, fingerprint: str = "f", status: str = "ok", minute: int = 0, model: str = "m") -> rows.Row:
    return rows.Row(
        key=key, source=f"file:///{key}", fingerprint=fingerprint, status=status, model=model, spec="s", run="r",
        finished_at=EPOCH + datetime.timedelta(minutes=minute),
    )  # fmt: skip


def item(key: str, fingerprint: str = "f") -> Input:
    return Input(key=key, source=key, fingerprint=fingerprint, container=b"x")


@pytest.fixture
def output(tmp_path: Path):
    fs, path = storage.filesystem(str(tmp_path))

    def write(name: str, *given: rows.Row, **about: str) -> None:
        index.write_fragment(fs, path, f"{name}.tar", rows.table(list(given), about))

    return fs, path, write


def test_the_newest_row_of_a_key_is_current(output):
    fs, path, write = output
    write("a", row("k", "old", minute=1), row("other"))
    write("b", row("k", "new", minute=2))
    view = index.current(fs, path, ["key", "fingerprint"]).to_pylist()
    assert view == [{"key": "k", "fingerprint": "new"}, {"key": "other", "fingerprint": "f"}]


def test_an_output_that_is_not_there_is_empty(output):
    fs, path, _ = output
    assert len(index.current(fs, path, ["key"])) == 0
    assert read_completed(fs, path, retry_failed=False).unsettled([item("k")]) == [item("k")]


def test_settled_inputs_are_those_with_the_current_fingerprint(output):
    fs, path, write = output
    write("a", row("same"), row("changed", "old"), row("reverted", "f", minute=1))
    write("b", row("reverted", "other", minute=2))
    found = read_completed(fs, path, retry_failed=False)
    inputs = [item("same"), item("changed"), item("reverted"), item("new")]
    assert [i.key for i in found.unsettled(inputs)] == ["changed", "reverted", "new"]


def test_failed_rows_are_settled_until_a_retry_asks(output):
    fs, path, write = output
    write("a", row("bad", status="failed"), row("good"))
    inputs = [item("bad"), item("good")]
    assert read_completed(fs, path, retry_failed=False).unsettled(inputs) == []
    assert [i.key for i in read_completed(fs, path, retry_failed=True).unsettled(inputs)] == ["bad"]


def test_only_one_makers_rows_count_when_the_rest_is_replaced(output):
    fs, path, write = output
    write("a", row("k", model="old"))
    found = read_completed(fs, path, retry_failed=False, made_by=("new", "s"))
    assert [i.key for i in found.unsettled([item("k")])] == ["k"]
    assert list(found.makers) == [("old", "s")]


def test_a_damaged_fragment_and_one_without_its_shard_do_not_count(output):
    fs, path, write = output
    write("sound", row("sound"))
    write("lost", row("lost"), **{"recast.shard": "lost.tar", "recast.shard_bytes": "10"})
    write("cut", row("cut"), **{"recast.shard": "cut.tar", "recast.shard_bytes": "10"})
    storage.write_bytes(fs, storage.join(path, "shards", "cut.tar"), b"12345")
    storage.write_bytes(fs, storage.join(path, "index", "noise.parquet"), b"PAR1 but no more than that")
    found = read_completed(fs, path, retry_failed=False)
    assert [i.key for i in found.unsettled([item("sound"), item("lost"), item("cut")])] == ["lost", "cut"]
    assert sorted(f.name for f in found.damaged) == ["cut.parquet", "lost.parquet", "noise.parquet"]
    assert index.current(fs, path, ["key"])["key"].to_pylist() == ["sound"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("xyz")), max_size=20))
def test_settled_agrees_with_a_dictionary(tmp_path_factory, history):
    """Whatever the history of a key, its last fingerprint is the settled one."""
    fs, path = storage.filesystem(str(tmp_path_factory.mktemp("out")))
    for n, (key, fingerprint) in enumerate(history):
        index.write_fragment(fs, path, f"{n}.tar", rows.table([row(key, fingerprint, minute=n)], {}))
    truth = dict(history)
    inputs = [item(k, f) for k in "abcde" for f in "xyz"]
    found = read_completed(fs, path, retry_failed=False).unsettled(inputs)
    assert found == [i for i in inputs if truth.get(i.key) != i.fingerprint]
