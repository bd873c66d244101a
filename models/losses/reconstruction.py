"""How far an output is from its target, pixel by pixel."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

RECONSTRUCTION: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"l1": F.l1_loss, "mse": F.mse_loss}
"""Each takes output and target of one shape and gives their mean distance."""
