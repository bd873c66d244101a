"""Detectors of other programs: Pytorch_Retinaface's."""

from recast.models.descriptor import Descriptor
from recast.models.foreign.states import Recognised, State


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
