"""Torchvision's Mask and Keypoint R-CNN said once more, plainly, from a state dict under its names of before 0.13.

Nothing of Recast is used: boxes one by one, features sample by sample. It is what the network is compared with.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def conv(state: State, name: str, x: Tensor, stride: int = 1) -> Tensor:
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)


def norm(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    mean, var, weight, bias = (
        state[f"{name}.{what}"].view(1, -1, 1, 1) for what in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) * weight / (var + eps).sqrt() + bias


def pyramid(state: State, x: Tensor, eps: float) -> list[Tensor]:
    body = "backbone.body"
    x = F.max_pool2d(F.relu(norm(state, f"{body}.bn1", conv(state, f"{body}.conv1", x, 2), eps)), 3, 2, 1)
    levels = []
    for stage, blocks in enumerate((3, 4, 6, 3), 1):
        for number in range(blocks):
            block, stride = f"{body}.layer{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            made = F.relu(norm(state, f"{block}.bn1", conv(state, f"{block}.conv1", x), eps))
            made = F.relu(norm(state, f"{block}.bn2", conv(state, f"{block}.conv2", made, stride), eps))
            made = norm(state, f"{block}.bn3", conv(state, f"{block}.conv3", made), eps)
            if f"{block}.downsample.0.weight" in state:
                x = norm(state, f"{block}.downsample.1", conv(state, f"{block}.downsample.0", x, stride), eps)
            x = F.relu(made + x)
        levels.append(x)
    fpn, results, above = "backbone.fpn", [], None
    for number in (3, 2, 1, 0):
        own = conv(state, f"{fpn}.inner_blocks.{number}", levels[number])
        above = own if above is None else own + F.interpolate(above, size=own.shape[2:], mode="nearest")
        results.insert(0, conv(state, f"{fpn}.layer_blocks.{number}", above))
    return [*results, F.max_pool2d(results[-1], 1, 2, 0)]


def moved(
    anchor: list[float], offsets: list[float], weights: tuple[float, float], size: tuple[int, int]
) -> list[float]:
    left, top, right, bottom = anchor
    wide, high = right - left, bottom - top
    dx, dy, dw, dh = offsets[0] / weights[0], offsets[1] / weights[0], offsets[2] / weights[1], offsets[3] / weights[1]
    dw, dh = min(dw, math.log(1000 / 16)), min(dh, math.log(1000 / 16))
    x, y = left + wide / 2 + dx * wide, top + high / 2 + dy * high
    w, h = wide * math.exp(dw), high * math.exp(dh)
    return [
        min(max(x - w / 2, 0), size[1]), min(max(y - h / 2, 0), size[0]),
        min(max(x + w / 2, 0), size[1]), min(max(y + h / 2, 0), size[0]),
    ]  # fmt: skip


def overlap(a: list[float], b: list[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area - shared)


def kept(rows: list[tuple], limit: float, most: int) -> list[tuple]:
    """Rows of score, box and group, best first, without those that overlap a better one of their group."""
    left: list[tuple] = []
    for row in sorted(rows, key=lambda row: -row[0]):
        if all(other[2] != row[2] or overlap(other[1], row[1]) <= limit for other in left):
            left.append(row)
    return left[:most]


def proposals(state: State, levels: list[Tensor], padded: tuple[int, int], size: tuple[int, int]) -> list[list[float]]:
    rows = []
    for number, level in enumerate(levels):
        x = F.relu(conv(state, "rpn.head.conv", level))
        logits, offsets = conv(state, "rpn.head.cls_logits", x)[0], conv(state, "rpn.head.bbox_pred", x)[0]
        high, wide = level.shape[2:]
        of_level = []
        for row in range(high):
            for column in range(wide):
                for n, ratio in enumerate((0.5, 1.0, 2.0)):
                    w, h = (32 << number) / math.sqrt(ratio), (32 << number) * math.sqrt(ratio)
                    cx, cy = column * (padded[1] // wide), row * (padded[0] // high)
                    # Half sides are rounded to even, as torch does.
                    half_w, half_h = float(np.round(np.float32(w) / 2)), float(np.round(np.float32(h) / 2))
                    anchor = [cx - half_w, cy - half_h, cx + half_w, cy + half_h]
                    box = moved(anchor, offsets[4 * n : 4 * n + 4, row, column].tolist(), (1, 1), size)
                    of_level.append((float(logits[n, row, column]), box, number))
        best = sorted(of_level, key=lambda row: -row[0])[:1000]
        rows += [(1 / (1 + math.exp(-s)), b, g) for s, b, g in best if b[2] - b[0] >= 1e-3 and b[3] - b[1] >= 1e-3]
    return [box for _, box, _ in kept(rows, 0.7, 1000)]


def aligned(levels: list[Tensor], box: list[float], bins: int) -> Tensor:
    """Features of one region: the mean of four samples a bin, each between four pixels."""
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    number = min(max(math.floor(4 + math.log2(side / 224) + 1e-6), 2), 5)
    level = levels[number - 2][0].numpy().astype(np.float64)
    left, top, right, bottom = (value / 2**number for value in box)
    step_x, step_y = max(right - left, 1) / bins, max(bottom - top, 1) / bins
    made = np.zeros((level.shape[0], bins, bins))
    for row in range(bins):
        for column in range(bins):
            for dy in (0.25, 0.75):
                for dx in (0.25, 0.75):
                    made[:, row, column] += between(level, top + (row + dy) * step_y, left + (column + dx) * step_x) / 4
    return torch.from_numpy(made).float()


def between(level: np.ndarray, y: float, x: float) -> np.ndarray:
    high, wide = level.shape[1:]
    if y < -1 or y > high or x < -1 or x > wide:
        return np.zeros(level.shape[0])
    y, x = min(max(y, 0), high - 1), min(max(x, 0), wide - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, high - 1), min(x0 + 1, wide - 1)
    fy, fx = y - y0, x - x0
    return (level[:, y0, x0] * (1 - fx) + level[:, y0, x1] * fx) * (1 - fy) + (
        level[:, y1, x0] * (1 - fx) + level[:, y1, x1] * fx
    ) * fy


def looked(state: State, image: Tensor, eps: float, floor: float, shapes: int) -> list[dict]:
    """What is in an image [3, H, W] in [0, 1]: score, box, category from 1; of the first few mask or points."""
    size = (image.shape[1], image.shape[2])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    padded = tuple(math.ceil(side / 32) * 32 for side in size)
    x = F.pad((image - mean[:, None, None]) / std[:, None, None], (0, padded[1] - size[1], 0, padded[0] - size[0]))
    levels = pyramid(state, x[None], eps)
    rois = proposals(state, levels, padded, size)
    rows = []
    head = "roi_heads.box_"
    for roi in rois:
        x = aligned(levels, roi, 7).flatten()
        for layer in ("fc6", "fc7"):
            x = F.relu(F.linear(x, state[f"{head}head.{layer}.weight"], state[f"{head}head.{layer}.bias"]))
        scores, offsets = (
            F.linear(x, state[f"{head}predictor.{name}.weight"], state[f"{head}predictor.{name}.bias"])
            for name in ("cls_score", "bbox_pred")
        )
        for category, score in enumerate(scores.softmax(0).tolist()):
            if category and score > floor:
                box = moved(roi, offsets[4 * category : 4 * category + 4].tolist(), (10, 5), size)
                if box[2] - box[0] >= 1e-2 and box[3] - box[1] >= 1e-2:
                    rows.append((score, box, category))
    return [
        {
            "score": score,
            "box": box,
            "category": category,
            **(shape(state, levels, box, category) if n < shapes else {}),
        }
        for n, (score, box, category) in enumerate(kept(rows, 0.5, 100))
    ]


def shape(state: State, levels: list[Tensor], box: list[float], category: int) -> dict:
    x = aligned(levels, box, 14)[None]
    if "roi_heads.mask_predictor.mask_fcn_logits.weight" in state:
        for layer in (1, 2, 3, 4):
            x = F.relu(conv(state, f"roi_heads.mask_head.mask_fcn{layer}", x))
        up = "roi_heads.mask_predictor.conv5_mask"
        x = F.relu(F.conv_transpose2d(x, state[f"{up}.weight"], state[f"{up}.bias"], 2))
        return {"mask": conv(state, "roi_heads.mask_predictor.mask_fcn_logits", x)[0, category].sigmoid()}
    for layer in range(0, 16, 2):
        x = F.relu(conv(state, f"roi_heads.keypoint_head.{layer}", x))
    up = "roi_heads.keypoint_predictor.kps_score_lowres"
    x = F.conv_transpose2d(x, state[f"{up}.weight"], state[f"{up}.bias"], 2, 1)
    x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    wide, high = max(box[2] - box[0], 1), max(box[3] - box[1], 1)
    maps = F.interpolate(x, size=(math.ceil(high), math.ceil(wide)), mode="bicubic", align_corners=False)[0]
    points = []
    for one in maps:
        place = int(one.argmax())
        row, column = divmod(place, one.shape[1])
        points.append([
            box[0] + (column + 0.5) * wide / one.shape[1], box[1] + (row + 0.5) * high / one.shape[0],
            1 / (1 + math.exp(-float(one[row, column]))),
        ])  # fmt: skip
    return {"points": torch.tensor(points)}
