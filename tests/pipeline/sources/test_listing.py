"""Listing: every file once, in order, streamed, on disk, in S3 and on other storage."""

import itertools
import threading
import time
from functools import partial

import fsspec
import pytest

from recast.pipeline import storage
from recast.pipeline.sources import listing

NAMES = [*sorted(f"{top}/{n % 7}/{n:04}.png" for top in ("a", "b") for n in range(30)), "a.png", "b.png", "c/d/e/f.png"]


def test_in_s3_pages_and_prefixes_come_in_order_of_keys(bucket):
    """More objects than a page holds, in one prefix and in many: each once, in the order of the keys."""
    fs, root = storage.filesystem(bucket)
    names = sorted([*NAMES, *(f"many/{n:05}.png" for n in range(1100)), "z ü+&.png"])
    fs.pipe({f"{root}/{name}": b"x" for name in names})
    found = list(listing.files(fs, root))
    assert [file.path for file in found] == [f"{root}/{name}" for name in names]
    assert len({file.fingerprint for file in found}) == 1
    assert found[0].fingerprint == listing.described(fs.info(found[0].path)).fingerprint
    assert [f.path for f in listing.files(fs, f"{root}/a", skip=f"{root}/a/3")] == [
        f"{root}/{name}" for name in names if name.startswith("a/") and not name.startswith("a/3/")
    ]


def test_other_storage_is_walked_with_its_folders_listed_ahead():
    fs = fsspec.filesystem("memory")
    for name in NAMES:
        fs.pipe_file(f"/listing-test/{name}", b"x")
    found = [file.path for file in listing.files(fs, "/listing-test")]
    assert sorted(found) == sorted(f"/listing-test/{name}" for name in NAMES)
    assert found == [file.path for file in listing.files(fs, "/listing-test")]


def test_iterators_are_chained_in_order_while_the_next_ones_run():
    makers = [partial(range, n * 100, n * 100 + 50) for n in range(20)]
    assert list(listing.chained_ahead(makers, threads=4)) == list(itertools.chain(*(make() for make in makers)))


def test_a_fault_comes_where_its_iterator_would_have():
    def broken():
        yield 1
        raise PermissionError("no")

    left = listing.chained_ahead([partial(iter, [0]), broken, partial(iter, [2])])
    assert [next(left), next(left)] == [0, 1]
    with pytest.raises(PermissionError):
        next(left)


def test_who_stops_early_leaves_no_thread_at_work():
    before = threading.active_count()
    left = listing.chained_ahead([itertools.count] * 20, threads=4)
    assert next(left) == 0
    left.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= before
