"""A bundle comes back as it was written, and nothing damaged or foreign is let in."""

import dataclasses
import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from recast.models import bundle
from recast.models.description import WEIGHTS, Bundle, BundleError, BundlePart, read_description, to_json
from recast.models.descriptor import Descriptor, NetworkInput
from recast.models.networks.edsr import EDSR
from recast.pipeline import bundles

ARGUMENTS = {"scale": 2, "channels": 8, "blocks": 1}


@pytest.fixture
def folder(tmp_path):
    described = Bundle(
        name="tiny",
        recipe="srresnet",
        network="edsr",
        arguments=ARGUMENTS,
        descriptor=Descriptor(task="upscale", scale=2, halo_px=5),
        training={"preset": "tiny"},
    )
    bundle.write(described, EDSR(**ARGUMENTS), tmp_path)
    return tmp_path


def read(folder):
    return bundle.read((folder / "bundle.json").read_bytes(), (folder / WEIGHTS).read_bytes())


def rewritten(folder, **changes):
    """The bundle with other tensors, its description made to fit them."""
    tensors = load_file(folder / WEIGHTS) | changes
    save_file(tensors, folder / WEIGHTS)
    described = read_description((folder / "bundle.json").read_bytes())
    sha = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    text = json.dumps(to_json(dataclasses.replace(described, weights_sha256=sha)))
    return text, (folder / WEIGHTS).read_bytes()


def test_round_trip(folder):
    """Description and weights are what was written; the network is in eval mode and frozen."""
    described, network = read(folder)
    assert (described.name, described.network, dict(described.arguments)) == ("tiny", "edsr", ARGUMENTS)
    assert described.descriptor == Descriptor(task="upscale", scale=2, halo_px=5)
    assert described.training == {"preset": "tiny"}
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in load_file(folder / WEIGHTS).items())


def test_half_precision_weights_are_read_as_single(folder):
    """A bundle that is stored in fp16 gives an fp32 network."""
    text, weights = rewritten(folder, **{k: v.half() for k, v in load_file(folder / WEIGHTS).items()})
    _, network = bundle.read(text, weights)
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_model_card_names_what_it_is(folder):
    """README.md says task, network and digest."""
    card = (folder / "README.md").read_text()
    assert all(word in card for word in ("tiny", "edsr", "upscale", read(folder)[0].digest))


def test_nan_is_refused(folder):
    """Weights that aren't finite never run."""
    text, weights = rewritten(folder, **{"tail.bias": torch.full((12,), torch.nan)})
    with pytest.raises(BundleError, match=r"NaN or infinity in tail\.bias"):
        bundle.read(text, weights)


def test_wrong_shape_is_refused(folder):
    """Weights of another network are named by the first that doesn't fit."""
    text, weights = rewritten(folder, **{"tail.bias": torch.zeros(48)})
    with pytest.raises(BundleError, match=r"tail\.bias is \(48,\) in place of \(12,\)"):
        bundle.read(text, weights)


def test_other_weights_are_refused(folder):
    """Weights that don't match the digest are refused, be they whole or not."""
    weights = (folder / WEIGHTS).read_bytes()
    with pytest.raises(BundleError, match="doesn't match its digest"):
        bundle.read((folder / "bundle.json").read_bytes(), weights[:-4] + b"\0\0\0\1")


def test_changed_description_is_refused(folder):
    """A description that was edited no longer matches its own digest."""
    fields = json.loads((folder / "bundle.json").read_text())
    fields["arguments"]["channels"] = 16
    with pytest.raises(BundleError, match="changed by hand"):
        read_description(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other/1"}', "\0"])
def test_foreign_description_is_refused(text):
    """What is no bundle.json is refused in a sentence."""
    with pytest.raises(BundleError, match=r"not a readable bundle\.json"):
        read_description(text)


def test_unknown_network_is_refused(folder):
    """A bundle of a newer version says which networks this one has."""
    fields = json.loads((folder / "bundle.json").read_text())
    del fields["digest"]
    with pytest.raises(BundleError, match="needs the network 'transformer'; this version has centernet, dcgan"):
        bundle.read(json.dumps({**fields, "network": "transformer"}), (folder / WEIGHTS).read_bytes())


POSE = NetworkInput(name="pose", kind="image", channels=1)
PLAIN = NetworkInput(name="image", kind="image")


def test_every_input_is_stated_and_bundles_of_before_state_one(folder):
    """Under the digest that they have always had."""
    said = json.loads((folder / "bundle.json").read_text())
    (image,) = said["descriptor"].pop("inputs")
    assert image == {"name": "image", "kind": "image", "channels": 3, "value_range": [0.0, 1.0]}
    del said["parts"]
    described = read_description(json.dumps(said))
    assert described.digest == said["digest"]
    assert described.descriptor.takes == (PLAIN,)
    assert described == read(folder)[0]


def test_one_image_is_stated_in_one_way():
    assert Descriptor(task="translate", inputs=(PLAIN,)) == Descriptor(task="translate")


def test_named_inputs_come_back_and_change_the_digest(folder):
    plain = read(folder)[0]
    two = dataclasses.replace(plain, descriptor=dataclasses.replace(plain.descriptor, inputs=(PLAIN, POSE)))
    back = read_description(json.dumps(to_json(two)))
    assert back.descriptor.takes == (PLAIN, POSE)
    assert back.digest == two.digest != plain.digest


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ((POSE,), "the first input, pose, has 1 channels"),
        ((PLAIN, PLAIN), "two inputs have one name"),
    ],
)
def test_inputs_that_contradict_each_other_are_refused(inputs, why):
    with pytest.raises(ValueError, match=why):
        Descriptor(task="translate", inputs=inputs)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "smell"}, "of the kind 'smell'"), ({"name": "../pose"}, "must be a word"), ({"channels": 0}, "has 0"),
        ({"value_range": (1.0, 0.0)}, "first value must be below"),
    ],
)  # fmt: skip
def test_an_input_out_of_its_ranges_is_refused(change, why):
    with pytest.raises(ValueError, match=why):
        dataclasses.replace(POSE, **change)


def test_a_bundle_brings_its_further_networks(tmp_path):
    """Each in a file of its own name, compared with its digest."""
    larger = {**ARGUMENTS, "blocks": 2}
    described = {"name": "two", "recipe": "none", "network": "edsr", "arguments": ARGUMENTS}
    parts = {"encoder": BundlePart(network="edsr", arguments=larger)}
    plain = Bundle(**described, descriptor=Descriptor(task="upscale"), parts=parts)
    encoder = EDSR(**larger)
    bundle.write(plain, EDSR(**ARGUMENTS), tmp_path / "made", {"encoder": encoder})
    (tmp_path / "made/preview.png").write_bytes(b"png")
    bundles.upload(tmp_path / "made", str(tmp_path / "there"))
    packed = bundles.fetch(str(tmp_path / "there"))
    assert all(torch.equal(v, encoder.state_dict()[k]) for k, v in packed.part("encoder").state_dict().items())
    with pytest.raises(BundleError, match="has no part 'decoder'"):
        packed.part("decoder")
    (tmp_path / "there/encoder.safetensors").write_bytes((tmp_path / "made" / WEIGHTS).read_bytes())
    with pytest.raises(BundleError, match=r"encoder\.safetensors of 'two' doesn't match its digest"):
        bundles.fetch(str(tmp_path / "there"))


@pytest.mark.parametrize("name", ["../encoder", "generator", "", "A"])
def test_a_part_of_a_name_that_is_no_plain_file_name_is_refused(folder, name):
    said = json.loads((folder / "bundle.json").read_text()) | {"digest": None}
    said["parts"] = {name: {"network": "edsr", "arguments": ARGUMENTS, "weights_sha256": "0"}}
    with pytest.raises(BundleError, match="is no name of a part"):
        read_description(json.dumps(said))
