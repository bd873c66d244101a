"""RetinaFace: faces and their five landmarks by anchors on a feature pyramid.

Deng et al. 2020 (arXiv:1905.00641), with the parameter names of the public Pytorch_Retinaface files.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recast.models.faces import LANDMARKS
from recast.models.networks.resnet import ResNet
from recast.models.perception import boxes as coder

MEAN = (104.0, 117.0, 123.0)
"""Means of blue, green and red, which the public weights expect to be subtracted."""
STRIDES = (8, 16, 32)
SIZES = ((16, 32), (64, 128), (256, 512))
"""Sides of the anchors in pixels, at each stride."""
VARIANCES = 0.1, 0.2
"""Variances of centres (in anchors) and of log sizes."""
BACKBONES = ("mobilenet0.25", "resnet50")


class RetinaFace(nn.Module):
    """RGB images [N, 3, H, W] in [0, 255] -> boxes [N, A, 4], logits [N, A, 2] and landmarks [N, A, 10].

    Boxes and landmarks are offsets from the anchors that `anchors` gives; see `decoded`. Logit 1 is the face's.
    """

    def __init__(self, *, backbone: str = "mobilenet0.25") -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone is {backbone!r}; it must be one of {', '.join(BACKBONES)}")
        small = backbone == "mobilenet0.25"
        self.body = _MobileNet() if small else ResNet(50)
        taken, out = ((64, 128, 256), 64) if small else ((512, 1024, 2048), 256)
        self.fpn = _Pyramid(taken, out)
        self.ssh1, self.ssh2, self.ssh3 = _Context(out), _Context(out), _Context(out)
        per_place = len(SIZES[0])
        self.ClassHead = nn.ModuleList(_Head(out, per_place, 2) for _ in STRIDES)
        self.BboxHead = nn.ModuleList(_Head(out, per_place, 4) for _ in STRIDES)
        self.LandmarkHead = nn.ModuleList(_Head(out, per_place, 2 * LANDMARKS) for _ in STRIDES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.body(images.flip(1) - images.new_tensor(MEAN).view(1, 3, 1, 1))
        levels = self.fpn(features[-len(STRIDES) :])
        levels = [context(x) for context, x in zip((self.ssh1, self.ssh2, self.ssh3), levels, strict=True)]
        boxes, logits, landmarks = (
            torch.cat([head(x) for head, x in zip(heads, levels, strict=True)], 1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return boxes, logits, landmarks


def anchors(height: int, width: int) -> Tensor:
    """Centre x, centre y, width and height in pixels of every anchor of an image, [A, 4], in the heads' order."""
    rows = []
    for stride, sizes in zip(STRIDES, SIZES, strict=True):
        y, x = torch.meshgrid(
            (torch.arange(math.ceil(height / stride)) + 0.5) * stride,
            (torch.arange(math.ceil(width / stride)) + 0.5) * stride,
            indexing="ij",
        )
        for size in sizes:
            rows.append(torch.stack([x, y, torch.full_like(x, size), torch.full_like(x, size)], -1).flatten(0, 1))
    by_level = [torch.stack(level, 1).flatten(0, 1) for level in zip(*[iter(rows)] * len(SIZES[0]), strict=True)]
    return torch.cat(by_level)


def decoded(boxes: Tensor, landmarks: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets [..., A, 4] and [..., A, 10] -> left, top, right, bottom and x, y of the landmarks, in pixels."""
    points = landmarks.unflatten(-1, (LANDMARKS, 2))
    points = anchors[:, None, :2] + points * VARIANCES[0] * anchors[:, None, 2:]
    return coder.decoded(boxes, anchors, VARIANCES), points.flatten(-2)


def encoded(boxes: Tensor, landmarks: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of `decoded`, for one box and one set of landmarks an anchor: [A, 4] and [A, 10]."""
    points = (landmarks.unflatten(-1, (LANDMARKS, 2)) - anchors[:, None, :2]) / (VARIANCES[0] * anchors[:, None, 2:])
    return coder.encoded(boxes, anchors, VARIANCES), points.flatten(1)


def _leak(out: int) -> float:
    """The public files' networks leak only where they are narrow."""
    return 0.1 if out <= 64 else 0.0


def _conv(before: int, after: int, kernel: int, stride: int = 1, leak: float | None = 0.0) -> nn.Sequential:
    """Convolution and batch norm; and a (leaky) ReLU, unless `leak` is None."""
    layers: list[nn.Module] = [
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
    ]
    return nn.Sequential(*layers, *([] if leak is None else [nn.LeakyReLU(leak)]))


def _depthwise(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False),
        nn.BatchNorm2d(before),
        nn.LeakyReLU(0.1),
        nn.Conv2d(before, after, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(0.1),
    )


class _MobileNet(nn.Module):
    """Howard et al. 2017, at a quarter of its width: features at strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        plan = [(8, 1), (16, 2), (32, 1), (32, 2), (64, 1)]
        widths = [width for width, _ in plan] + [64]
        first = [_depthwise(a, b, s) for (a, s), b in zip(plan, widths[1:], strict=True)]
        self.stage1 = nn.Sequential(_conv(3, 8, 3, 2, 0.1), *first)
        self.stage2 = nn.Sequential(_depthwise(64, 128, 2), *(_depthwise(128, 128, 1) for _ in range(5)))
        self.stage3 = nn.Sequential(_depthwise(128, 256, 2), _depthwise(256, 256, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        one = self.stage1(x)
        two = self.stage2(one)
        return [one, two, self.stage3(two)]


class _Pyramid(nn.Module):
    """Lin et al. 2017: coarse features join the finer ones."""

    def __init__(self, taken: tuple[int, ...], out: int) -> None:
        super().__init__()
        leak = _leak(out)
        self.output1, self.output2, self.output3 = (_conv(width, out, 1, leak=leak) for width in taken)
        self.merge1, self.merge2 = _conv(out, out, 3, leak=leak), _conv(out, out, 3, leak=leak)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = self.output1(levels[0]), self.output2(levels[1]), self.output3(levels[2])
        middle = self.merge2(middle + F.interpolate(coarse, size=middle.shape[2:], mode="nearest"))
        fine = self.merge1(fine + F.interpolate(middle, size=fine.shape[2:], mode="nearest"))
        return [fine, middle, coarse]


class _Context(nn.Module):
    """SSH's context module (Najibi et al. 2017): what is around a face, seen by 3 x 3, 5 x 5 and 7 x 7."""

    def __init__(self, out: int) -> None:
        super().__init__()
        half, quarter, leak = out // 2, out // 4, _leak(out)
        self.conv3X3 = _conv(out, half, 3, leak=None)
        self.conv5X5_1 = _conv(out, quarter, 3, leak=leak)
        self.conv5X5_2 = _conv(quarter, quarter, 3, leak=None)
        self.conv7X7_2 = _conv(quarter, quarter, 3, leak=leak)
        self.conv7x7_3 = _conv(quarter, quarter, 3, leak=None)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        return F.relu(torch.cat([self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))], 1))


class _Head(nn.Module):
    def __init__(self, width: int, per_place: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(width, per_place * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, h * w * per_place, values]."""
        return self.conv1x1(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, self.values))
