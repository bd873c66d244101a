"""Networks of other programs that find things: Pytorch_Retinaface's, torchvision's Mask R-CNN, CenterNet's own."""

import dataclasses
import re
from typing import Any

from recast.models import coco_names
from recast.models.descriptor import Descriptor
from recast.models.foreign.states import COUNTER, Recognised, State, numbers, renamed
from recast.models.looks import Category, Looks
from recast.models.networks.resnet import DEPTHS, FIRST_BOTTLENECK, NORM_EPS

SHORT_PX, LONG_PX = 800, 1333
"""Sides that torchvision's detectors bring images to: the shorter one, and the most that the longer may be."""

NAMES = "; what its categories are called is for you to say: --categories"
CENTERNET_PX, HOURGLASS_MULTIPLE = 512, 128
HEADS = ("hm.", "wh.", "reg.", "hps.", "hm_hp.", "hp_offset.")
"""What the names of CenterNet's heads begin with; all others are its trunk's."""


def retinaface(state: State) -> Recognised | None:
    """Pytorch_Retinaface's files; the classifier that its backbones were trained with may still be in them."""
    if "ssh1.conv3X3.0.weight" not in state:
        return None
    backbone = "mobilenet0.25" if "body.stage1.0.0.weight" in state else "resnet50"
    return Recognised(
        family=f"RetinaFace ({backbone})", network="retinaface", arguments={"backbone": backbone},
        state={key: tensor for key, tensor in state.items() if not key.startswith("body.fc.")},
        descriptor=Descriptor(task="detect", size_multiple=32, min_size_px=32, value_range=(0.0, 255.0)),
    )  # fmt: skip


def mask_rcnn(state: State) -> Recognised | None:
    """Torchvision's Mask, Keypoint and Faster R-CNN, of both versions, and what was fine-tuned from them."""
    if "roi_heads.box_predictor.cls_score.weight" not in state or "backbone.fpn.inner_blocks" not in " ".join(state):
        return None
    frozen = not any(key.startswith("backbone.body.") and key.endswith(COUNTER) for key in state)
    state = renamed({key: value for key, value in state.items() if not key.endswith(COUNTER)}, _since_0_13)
    version = 2 if "roi_heads.box_head.5.weight" in state else 1
    places = state.get("roi_heads.keypoint_predictor.kps_score_lowres.weight")
    points = 0 if places is None else places.shape[1]
    count = state["roi_heads.box_predictor.cls_score.weight"].shape[0] - 1
    public = frozen and version == 1 and (count, points) in ((coco_names.LARGEST, 0), (1, len(coco_names.POINTS)))
    arguments: dict[str, Any] = {
        "categories": count,
        "layers": _layers(state, "backbone.body."),
        "width": state["backbone.body.conv1.weight"].shape[0],
        "channels": state["backbone.fpn.inner_blocks.0.0.weight"].shape[0],
        "hidden": state["roi_heads.box_predictor.cls_score.weight"].shape[1],
        "version": version,
        "masks": "roi_heads.mask_predictor.mask_fcn_logits.weight" in state,
        "points": points,
        "norm_eps": 0.0 if public else NORM_EPS,
    }
    kind = "Keypoint" if points else "Mask" if arguments["masks"] else "Faster"
    return Recognised(
        family=f"{kind} R-CNN of torchvision{', version 2' if version == 2 else ''} (BSD-3-Clause)",
        network="mask_rcnn", arguments=arguments, state=state,
        descriptor=Descriptor(task="annotate", looks=_looks(count, points)),
        note="" if public or version == 2 else _left_open(count),
    )  # fmt: skip


def centernet(state: State) -> Recognised | None:
    """CenterNet's hourglasses (`ctdet_coco_hg`, `multi_pose_hg`), and what was fine-tuned from them."""
    if "hm.0.0.conv.weight" not in state or "kps.0.up1.0.conv1.weight" not in state:
        return None
    state = {key: value for key, value in state.items() if not key.endswith(COUNTER)}
    count = state["hm.0.1.weight"].shape[0]
    points = state["hm_hp.0.1.weight"].shape[0] if "hm_hp.0.1.weight" in state else 0
    known = (count, points) in ((len(coco_names.THINGS), 0), (1, len(coco_names.POINTS)))
    state["pre.0.conv.weight"] = state["pre.0.conv.weight"].flip(1)  # it takes blue first
    return Recognised(
        family=f"CenterNet ({'poses' if points else 'boxes'}, Hourglass-104; MIT)", network="centernet",
        arguments={"categories": count, "points": points, "trunk": "hourglass"},
        state=renamed(state, lambda key: key if key.startswith(HEADS) else f"trunk.{key}"),
        descriptor=Descriptor(
            task="annotate", size_multiple=HOURGLASS_MULTIPLE, min_size_px=HOURGLASS_MULTIPLE,
            looks=dataclasses.replace(_looks(count, points), size_px=CENTERNET_PX, short_px=None),
        ),
        note=f"images are brought to {CENTERNET_PX} px, at which it was trained" + ("" if known else NAMES),
    )  # fmt: skip


def _since_0_13(key: str) -> str:
    """Names of before torchvision 0.13 as they are since."""
    key = re.sub(r"(fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$", r"\1.0.\2", key)
    key = re.sub(r"rpn\.head\.conv\.(weight|bias)$", r"rpn.head.conv.0.0.\1", key)
    return re.sub(r"mask_head\.mask_fcn(\d)\.", lambda found: f"mask_head.{int(found[1]) - 1}.0.", key)


def _layers(state: State, prefix: str) -> int:
    """How many layers a ResNet has, by its blocks. Raises ValueError for one that is not known."""
    depths = tuple(len(numbers(state, rf"{re.escape(prefix)}layer{n}\.(\d+)\.")) for n in range(1, 5))
    deep = f"{prefix}layer1.0.conv3.weight" in state
    found = [layers for layers, known in DEPTHS.items() if known == depths and (layers >= FIRST_BOTTLENECK) == deep]
    if not found:
        raise ValueError(f"its ResNet has {depths} blocks")
    return found[0]


def _looks(count: int, points: int) -> Looks:
    people = points == len(coco_names.POINTS)
    named = coco_names.POINTS if people else tuple(f"point {n}" for n in range(1, points + 1))
    categories = (Category(id=1, name="person"),) if people and count == 1 else coco_names.categories(count)
    return Looks(
        categories=categories, points=named, limbs=coco_names.LIMBS if people else (), size_px=LONG_PX,
        short_px=SHORT_PX,
    )  # fmt: skip


def _left_open(count: int) -> str:
    said = (
        f"its batch norms are taken to add {NORM_EPS:g} to variances; torchvision's add 0 where training began from "
        "its public weights"
    )
    return said if count == coco_names.LARGEST else said + NAMES
