"""A stranger's bundle is refused in a sentence, at once and in bounded memory, whatever it declares.

RECAST_TEST_MUTATIONS=10000 tries so many damaged bundles; by default a few hundred are tried.
"""

import json
import os
import random
import time
import tracemalloc

import pytest
import torch
from safetensors.torch import save

from recast.models import bundle, foreign
from recast.models.description import WEIGHTS, Bundle, BundleError
from recast.models.descriptor import Descriptor
from recast.models.networks.edsr import EDSR
from tests.models.test_foreign import packed

ARGUMENTS = {"scale": 2, "channels": 4, "blocks": 1}
MUTATIONS = int(os.environ.get("RECAST_TEST_MUTATIONS", "300"))
LIMIT_BYTES = 64 << 20
POSE = {"name": "pose", "kind": "image", "channels": 3, "value_range": [0.0, 1.0]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A sound bundle's description, as a mapping, and its weights."""
    folder = tmp_path_factory.mktemp("bundle")
    descriptor = Descriptor(task="upscale", scale=2, halo_px=5)
    described = Bundle(name="tiny", recipe="srresnet", network="edsr", arguments=ARGUMENTS, descriptor=descriptor)
    bundle.write(described, EDSR(**ARGUMENTS), folder)
    return json.loads((folder / "bundle.json").read_text()), (folder / WEIGHTS).read_bytes()


@pytest.mark.parametrize(("network", "arguments"), [
    ("resnet_generator", {"ngf": 60000}), ("resnet_generator", {"blocks": 20000}), ("unet", {"num_downs": 10**9}),
    ("resnet_generator", {"blocks": 10**9}), ("edsr", {"channels": -4}), ("edsr", {"nonsense": 1}), ("edsr", 5),
    ([], {}), ("nonsense", {}), ("rrdb", {"blocks": 10**18}), ("edsr", {"channels": 1e300}), ("edsr", {"scale": "2"}),
    ("vgg", {"layers": [10**9] * 10}), ("edsr", {"blocks": None}),
])  # fmt: skip
def test_what_a_small_description_declares_takes_no_memory_and_no_time(files, network, arguments):
    described, weights = files
    text = json.dumps({**described, "network": network, "arguments": arguments, "digest": None})
    began = time.monotonic()
    tracemalloc.start()
    try:
        with pytest.raises(BundleError):
            bundle.read(text, weights)
        assert tracemalloc.get_traced_memory()[1] < LIMIT_BYTES
    finally:
        tracemalloc.stop()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("change", [
    {"scale": 10**9}, {"size_multiple": 0}, {"min_size_px": 10**12}, {"halo_px": -1}, {"in_channels": 9},
    {"value_range": [0, float("inf")]}, {"value_range": [float("nan"), 1]}, {"value_range": 5}, {"scale": "2"},
    {"inputs": 5}, {"inputs": [5]}, {"inputs": [{}]}, {"inputs": [POSE, POSE]}, {"inputs": [POSE | {"path": "/"}]},
    {"inputs": [POSE | {"channels": 10**9}]}, {"inputs": [POSE | {"channels": "3"}]}, {"inputs": {"pose": POSE}},
    {"inputs": [POSE | {"kind": "labels", "channels": 1000}]}, {"inputs": [POSE | {"value_range": [0]}]},
    {"inputs": [POSE | {"name": "a/b"}]}, {"inputs": [POSE | {"kind": ["image"]}]},
])  # fmt: skip
def test_a_descriptor_out_of_its_ranges_is_refused(files, change):
    described, weights = files
    text = json.dumps({**described, "descriptor": {**described["descriptor"], **change}, "digest": None})
    with pytest.raises(BundleError, match="not a readable bundle.json"):
        bundle.read(text, weights)


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Some bits flipped, a piece cut out, doubled or overwritten."""
    changed = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(changed))
        match dice.randrange(4):
            case 0:
                changed[start] ^= 1 << dice.randrange(8)
            case 1:
                del changed[start : start + dice.randint(1, 40)]
            case 2:
                changed[start:start] = changed[start : start + dice.randint(1, 40)]
            case 3:
                changed[start : start + 8] = dice.choice([b"\xff" * 8, bytes(8), b"99999999", b"[[[[[[[["])
        if not changed:
            return b""
    return bytes(changed)


def test_damaged_bundles_are_refused_or_sound(files):
    described, weights = files
    dice = random.Random(0)
    for _ in range(MUTATIONS):
        plain = {**described, "digest": None} if dice.random() < 0.5 else described
        text, given = json.dumps(plain).encode(), weights
        if dice.random() < 0.5:
            text = mutated(text, dice)
        else:
            given = mutated(weights, dice)
            sound = {**described, "weights_sha256": bundle.hashlib.sha256(given).hexdigest(), "digest": None}
            text = json.dumps(sound).encode()
        try:
            _, network = bundle.read(text, given)
        except BundleError as refused:
            assert "\n" not in str(refused)
        else:
            assert all(torch.isfinite(p).all() for p in network.parameters())


def test_damaged_checkpoints_are_refused_or_tensors():
    state = EDSR(**ARGUMENTS).state_dict()
    sound = [packed({"params": state, "epoch": 3}), save(state), packed(state)]
    dice = random.Random(1)
    for number in range(MUTATIONS):
        data = mutated(sound[number % len(sound)], dice)
        try:
            foreign.identify(foreign.read(data, "x.pth"), "x.pth")
        except BundleError as refused:
            assert "\n" not in str(refused)
