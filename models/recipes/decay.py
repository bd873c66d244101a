"""How learning rates fall over a training."""


def constant_then_linear(step: int, steps: int, constant_share: float) -> float:
    """1 for a share of the steps, then falling to 0 just after the last (the reference of pix2pix and CycleGAN)."""
    constant = constant_share * steps
    return 1.0 - max(0.0, step - constant) / (steps - constant + 1)
