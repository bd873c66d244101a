"""VGG: the classifier whose features perceptual losses compare, with torchvision's parameter names."""

import re
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Means and deviations of RGB in [0, 1] that torchvision's published weights expect."""
VGG19 = ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4)
"""Features of the convolutions, block by block; a max pooling halves the image after each block."""


class VGG(nn.Module):
    """[N, 3, H, W] in [0, 1] -> logits [N, classes]; or the features that are asked for by name.

    Simonyan and Zisserman 2015 (arXiv:1409.1556), without its fully connected layers: perceptual losses don't need
    them, and a classifier here averages the last features and has one linear layer. Feature names are the field's:
    `conv3_2` is the second convolution of the third block, `relu3_2` what follows it.
    """

    def __init__(self, *, blocks: Sequence[Sequence[int]] = VGG19, classes: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.names: list[str] = []
        """Names of the layers, in order; poolings are `pool1`, ..."""
        before = 3
        for number, block in enumerate(blocks, 1):
            for place, width in enumerate(block, 1):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
                self.names += [f"conv{number}_{place}", f"relu{number}_{place}"]
                before = width
            layers.append(nn.MaxPool2d(2))
            self.names.append(f"pool{number}")
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes) if classes else None
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, x: Tensor) -> Tensor:
        assert self.head is not None, "a VGG without classes gives features only"
        return self.head(self.features(self._normalised(x)).mean((2, 3)))

    def taps(self, x: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """The features of those names; layers after the last of them are not computed."""
        found: dict[str, Tensor] = {}
        x = self._normalised(x)
        for name, layer in zip(self.names, self.features, strict=True):
            x = layer(x)
            if name in wanted:
                found[name] = x
                if len(found) == len(wanted):
                    break
        return found

    def _normalised(self, x: Tensor) -> Tensor:
        return (x - self.get_buffer("mean")) / self.get_buffer("std")


def vgg_of(weights: Mapping[str, Tensor]) -> VGG:
    """The VGG whose weights these are, as a fixed function; of any depth and width: its shape is read off the names.

    Weights are torchvision's (`features.N.weight`, also of the whole published file) or of a `classifier` bundle.

    Raises:
        ValueError: they aren't a VGG's without batch norm, or aren't whole.
    """
    places = {key: re.fullmatch(r"features\.(\d+)\.weight", key) for key in weights}
    found = {int(place[1]): weights[key] for key, place in places.items() if place}
    if not found or any(tensor.dim() != 4 for tensor in found.values()):
        some = ", ".join(list(weights)[:3]) or "none"
        raise ValueError(
            f"the loss network must be a VGG without batch norm (features.0.weight, …); its weights: {some}"
        )
    blocks: list[list[int]] = [[]]
    expected = 0
    for place in sorted(found):
        if place == expected + 1:  # a pooling lies between
            blocks.append([])
            expected += 1
        if place != expected:
            raise ValueError(f"the loss network isn't a whole VGG: features.{expected}.weight is missing")
        blocks[-1].append(found[place].shape[0])
        expected += 2
    network = VGG(blocks=blocks)
    wanted = network.state_dict()
    odd = [key for key in wanted if key not in weights or weights[key].shape != wanted[key].shape]
    if odd:
        raise ValueError(f"the loss network isn't a whole VGG: {odd[0]} is missing or of another shape")
    network.load_state_dict({key: weights[key].float() for key in wanted})
    return network.requires_grad_(False).eval()
