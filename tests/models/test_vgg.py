"""VGG: the published files' names and shapes, features by their usual names, and clear words for what doesn't fit."""

import pytest
import torch
import torch.nn.functional as F

from recast.models.losses.perceptual import layers
from recast.models.networks.vgg import VGG, vgg_of

PUBLISHED = {
    16: {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 17: 512, 19: 512, 21: 512, 24: 512, 26: 512, 28: 512},
    19: {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512, 25: 512, 28: 512,
         30: 512, 32: 512, 34: 512},
}  # fmt: skip
"""Places and widths of the convolutions in torchvision's files."""


def published(depth, divide=1):
    """A file with torchvision's names, its fully connected layers too, narrower where that is enough."""
    torch.manual_seed(depth)
    state, before = {}, 3
    for place, width in PUBLISHED[depth].items():
        state[f"features.{place}.weight"] = torch.randn(width // divide, before, 3, 3) * (2 / (9 * before)) ** 0.5
        state[f"features.{place}.bias"] = torch.randn(width // divide) * 0.1
        before = width // divide
    return state | {"classifier.0.weight": torch.zeros(4, 4), "classifier.0.bias": torch.zeros(4)}


def by_hand(state, x, place):
    """The features after a place of torchvision's sequence, written out."""
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(
        1, 3, 1, 1
    )
    convolutions = [int(key.split(".")[1]) for key in state if key.startswith("features") and key.endswith("weight")]
    for n in range(place + 1):
        if n in convolutions:
            x = F.conv2d(x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1)
        elif n - 1 in convolutions:
            x = F.relu(x)
        else:
            x = F.max_pool2d(x, 2)
    return x


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (16, {"relu1_2": 3, "relu2_2": 8, "relu3_3": 15, "relu4_3": 22, "relu5_3": 29}),
        (19, {"conv1_2": 2, "relu3_2": 13, "conv4_4": 25, "conv5_4": 34, "relu5_4": 35, "pool5": 36}),
    ],
)
def test_published_files_give_the_fields_features(depth, names):
    """Names and places as in LPIPS (VGG16) and BasicSR (VGG19)."""
    state = published(depth, divide=8)
    network, x = vgg_of(state), torch.rand(1, 3, 32, 40)
    features = network.taps(x, names)
    for name, place in names.items():
        torch.testing.assert_close(features[name], by_hand(state, x, place), rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in network.parameters())


def test_vgg19_has_the_published_shapes():
    ours = {k: tuple(v.shape) for k, v in VGG().state_dict().items()}
    theirs = {k: tuple(v.shape) for k, v in published(19).items() if k.startswith("features")}
    assert ours == theirs
    assert sum(v.numel() for v in VGG().parameters()) == 20_024_384


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: {"conv1.weight": torch.zeros(1)}, "must be a VGG without batch norm .* its weights: conv1.weight"),
        (lambda s: {k: v for k, v in s.items() if "features.7" not in k}, "features.7.weight is missing"),
        (lambda s: {k: v for k, v in s.items() if k != "features.7.bias"}, "features.7.bias is missing"),
        (lambda s: {**s, "features.1.weight": torch.zeros(8)}, "must be a VGG without batch norm"),
    ],
)
def test_what_is_no_vgg_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        vgg_of(change(published(16, divide=16)))


def test_layers_are_named_with_weights():
    network = VGG(blocks=[[4], [4]])
    assert layers("relu1_1, conv2_1:0.5", network) == {"relu1_1": 1.0, "conv2_1": 0.5}
    for text, sentence in (
        ("relu3_1", "it has conv1_1, relu1_1, pool1"),
        ("relu1_1:x", "is no weight"),
        ("", "at least one"),
    ):
        with pytest.raises(ValueError, match=sentence):
            layers(text, network)
