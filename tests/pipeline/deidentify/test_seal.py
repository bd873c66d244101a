"""What is sealed comes back bit for bit to who has the passcode, and to nobody else; what was touched doesn't open."""

import json
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.deidentify.secrets import codes, seal
from recast.pipeline.deidentify.secrets.codes import codes_key
from recast.pipeline.deidentify.secrets.seal import (
    Lock,
    SealError,
    Secret,
    lock_for,
    new_key,
    opened,
    opened_lock,
    opened_text,
    relock,
    sealed,
    sealed_text,
    sealing_key,
)

PASSCODE = Secret(b"correct horse battery staple")
KEY = Secret(bytes(range(32)))


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """scrypt at its real costs takes a third of a second each time."""
    monkeypatch.setattr(codes, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})
    monkeypatch.setattr(seal, "COSTS", {"n": seal.LEAST_N, "r": 8, "p": 1})


pixels = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.booleans(), st.integers(0, 9))


@given(pixels)
@settings(max_examples=40, deadline=None)
def test_pixels_come_back_as_they_were(made):
    height, width, channels, sixteen, seed = made
    kind = np.uint16 if sixteen else np.uint8
    original = np.random.default_rng(seed).integers(0, np.iinfo(kind).max, (height, width, channels), kind)
    box = (1, 2, 1 + width, 2 + height)
    data = sealed(KEY, "a/b.png", "f" * 64, box, original)
    back = opened(KEY, "a/b.png", "f" * 64, box, data)
    assert (back.pixels.dtype, back.pixels.shape) == (original.dtype, original.shape)
    assert np.array_equal(back.pixels, original)
    assert (back.number, back.of) == (0, 1)


def test_the_length_of_a_sealed_name_tells_nothing():
    """Names of all lengths that people have come to the same bytes, and come back."""
    names = ["a.png", "Anna-Maria Oberhuber-Zwiebel 12.03.1985.jpeg", "x" * 200, "ü\udce4.png"]
    sealed_names = [sealed_text(KEY, "k", name) for name in names]
    assert len({len(data) for data in sealed_names}) == 1
    assert [opened_text(KEY, "k", data) for data in sealed_names] == names


def test_whatever_is_changed_does_not_open():
    """Another key, image, published image or place, and any flipped byte."""
    original = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    right = (KEY, "a", "f" * 64, (0, 0, 3, 3))
    data = sealed(*right, original)
    wrongs = [(Secret(bytes(32)), *right[1:]), (KEY, "b", *right[2:]), (KEY, "a", "0" * 64, right[3]),
              (*right[:3], (1, 0, 4, 3))]  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(SealError, match="was changed, or belongs to another image"):
            opened(*wrong, data)
    for place in range(len(data)):
        broken = bytearray(data)
        broken[place] ^= 1
        with pytest.raises(SealError):
            opened(*right, bytes(broken))
    for short in (b"", data[:5], data[:-1]):
        with pytest.raises(SealError):
            opened(*right, short)


def test_the_same_pixels_are_sealed_differently_each_time():
    original = np.zeros((3, 3, 3), np.uint8)
    assert sealed(KEY, "a", "", (0, 0, 3, 3), original) != sealed(KEY, "a", "", (0, 0, 3, 3), original)


def test_a_lock_opens_to_its_passcode_alone():
    key = new_key()
    lock = lock_for(PASSCODE, key)
    assert lock.key(PASSCODE).reveal() == key.reveal()
    with pytest.raises(SealError, match="the passcode doesn't fit"):
        lock.key(Secret(b"correct horse battery stapler"))
    changed = {"salt": lock.salt[::-1], "n": 2**11, "r": 4, "wrapped": lock.wrapped[:-4] + "AAAA"}
    for name, value in changed.items():
        with pytest.raises(SealError):
            Lock(**{**vars_of(lock), name: value}).key(PASSCODE)


def vars_of(lock):
    return {name: getattr(lock, name) for name in ("salt", "n", "r", "p", "wrapped")}


def test_an_output_has_one_key_and_a_passcode_can_be_changed(tmp_path):
    fs, path = storage.filesystem(str(tmp_path / "out"))
    key = sealing_key(fs, path, PASSCODE)
    assert sealing_key(fs, path, PASSCODE).reveal() == key.reveal()
    with pytest.raises(SealError):
        sealing_key(fs, path, Secret(b"another passcode"))
    relock(str(tmp_path / "out"), opened_lock(str(tmp_path / "out"), PASSCODE), Secret(b"another passcode"))
    assert sealing_key(fs, path, Secret(b"another passcode")).reveal() == key.reveal()
    with pytest.raises(SealError):
        sealing_key(fs, path, PASSCODE)
    lock = (tmp_path / "out" / "seals" / "lock.json").read_text()
    assert key.reveal().hex() not in lock
    for damage in ("", "{}", "[]", "[" * 100_000, "\ud800", lock[:-9], "5", '"lock"'):
        (tmp_path / "out" / "seals" / "lock.json").write_bytes(damage.encode("utf-8", "surrogatepass"))
        with pytest.raises(SealError, match=r"lock\.json in .* is damaged"):
            sealing_key(fs, path, PASSCODE)


@pytest.mark.parametrize(
    "changed",
    [
        *({"n": n} for n in (2**40, 2**21, 2**13, 16, 2**17 + 1, 131072.0, "131072", -(2**17), True, None, [2])),
        *({"r": r} for r in (-8, 0, 1, 64, 8.0, "8", 10**9)),
        *({"p": p} for p in (-1, 0, 17, 1.0, None)),
        {"n": 2**20, "r": 32},
        *({"salt": salt} for salt in ("", "AAAA", "not base64!", 5, None, ["AAAA"])),
        {"more": "AAAAAAAAAAAAAAAAAAAAAAAA"},
    ],
)
def test_a_lock_that_asks_for_too_much_or_too_little_is_damaged(changed, tmp_path):
    """Costs out of bounds and values of other types end in one sentence, before any work."""
    fs, path = storage.filesystem(str(tmp_path))
    sealing_key(fs, path, PASSCODE)
    codes_key(fs, path, PASSCODE, fresh=True)
    for name, read in (("lock", sealing_key), ("codes", partial(codes_key, fresh=True))):
        file = tmp_path / "seals" / f"{name}.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))
        with pytest.raises(SealError, match=rf"{name}\.json in .* is damaged"):
            read(fs, path, PASSCODE)


@pytest.mark.parametrize("wrapped", [5, "", "AAAA", "é" * 80, {}])
def test_a_lock_whose_key_is_no_text_is_damaged(wrapped, tmp_path):
    fs, path = storage.filesystem(str(tmp_path))
    sealing_key(fs, path, PASSCODE)
    lock = tmp_path / "seals" / "lock.json"
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "wrapped": wrapped}))
    with pytest.raises(SealError, match=r"lock\.json in .* is damaged"):
        sealing_key(fs, path, PASSCODE)


def test_a_secret_does_not_show():
    secret = Secret(b"correct horse")
    for shown in (repr(secret), str(secret), f"{secret}", repr({"key": [secret]})):
        assert "correct" not in shown
    assert pickle.loads(pickle.dumps(secret)).reveal() == b"correct horse"
