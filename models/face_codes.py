"""From secret bytes to what face networks take: a latent code, or the signs of a rotation."""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from recast.models.networks.face_transformer import ROUNDS


def signs_of(code: bytes, latent: int) -> Tensor:
    """A code's signs, [ROUNDS, latent] of -1 and 1: the bits of SHAKE-256 of it."""
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(code).digest(math.ceil(ROUNDS * latent / 8)), np.uint8))
    return torch.from_numpy(bits[: ROUNDS * latent].astype(np.float32) * 2 - 1).view(ROUNDS, latent)


def latent_of(code: bytes, latent: int) -> Tensor:
    """A code's own point on the sphere, [latent], evenly spread: normal draws of a generator that it seeds."""
    drawn = np.random.Generator(np.random.Philox(int.from_bytes(hashlib.sha256(code).digest()[:16], "big")))
    point = drawn.standard_normal(latent)
    return torch.from_numpy(point * math.sqrt(latent) / np.linalg.norm(point)).float()
