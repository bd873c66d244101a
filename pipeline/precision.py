"""The number formats that networks compute in. Apart from what computes, so that commands start without torch."""

from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
