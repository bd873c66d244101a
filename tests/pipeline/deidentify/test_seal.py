"""What is sealed comes back bit for bit to who has the passcode, and to nobody else; what was touched doesn't open."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recast.pipeline import storage
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.deidentify.secrets.seal import (
    Lock,
    SealError,
    Secret,
    lock_for,
    new_key,
    opened,
    rekey,
    sealed,
    sealing_key,
)

PASSCODE = Secret(b"correct horse battery staple")
KEY = Secret(bytes(range(32)))


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    """scrypt at its real costs takes a third of a second each time."""
    monkeypatch.setattr(seal, "COSTS", {"n": 2**10, "r": 8, "p": 1})


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
    assert (back.dtype, back.shape) == (original.dtype, original.shape)
    assert np.array_equal(back, original)


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
    rekey(str(tmp_path / "out"), PASSCODE, Secret(b"another passcode"))
    assert sealing_key(fs, path, Secret(b"another passcode")).reveal() == key.reveal()
    with pytest.raises(SealError):
        sealing_key(fs, path, PASSCODE)
    lock = (tmp_path / "out" / "seals" / "lock.json").read_text()
    assert key.reveal().hex() not in lock
    for damage in ("", "{}", "[]", json.dumps({**json.loads(lock), "n": 2**40}), lock[:-9]):
        (tmp_path / "out" / "seals" / "lock.json").write_text(damage)
        with pytest.raises(SealError, match=r"lock\.json in .* is damaged"):
            sealing_key(fs, path, PASSCODE)


def test_a_secret_does_not_show():
    secret = Secret(b"correct horse")
    for shown in (repr(secret), str(secret), f"{secret}", repr({"key": [secret]})):
        assert "correct" not in shown
    assert pickle.loads(pickle.dumps(secret)).reveal() == b"correct horse"
