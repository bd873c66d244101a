"""How much better than Pillow's bicubic an upscaler is: `python -m tests.benchmarks.upscale_quality BUNDLE PHOTOS`.

Each photograph is halved with Lanczos (which makes it sharp at the level of pixels), cut to a multiple of the scale
and reduced with Pillow's bicubic; the bundle and Pillow's bicubic enlarge it again. PSNR in RGB, without a border of
`scale` pixels.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from recast.models import bundle
from recast.models.description import WEIGHTS
from recast.models.descriptor import Descriptor
from recast.models.metrics.psnr import psnr_db
from recast.models.pixels import to_range, to_unit


@dataclass(frozen=True, kw_only=True)
class Score:
    """PSNR in dB of one photograph's enlargements."""

    bicubic: float
    bundle: float

    @property
    def gain(self) -> float:
        return self.bundle - self.bicubic


def score(network: nn.Module, descriptor: Descriptor, photo: Image.Image, crop_px: int | None = None) -> Score:
    """Reduce and enlarge a photograph.

    Args:
        crop_px: score only a square of this side in the middle of the target, to be quick.
    """
    scale = descriptor.scale
    target = photo.convert("RGB").resize((photo.width // 2, photo.height // 2), Image.Resampling.LANCZOS)
    width, height = (min(side, crop_px or side) // scale * scale for side in target.size)
    left, top = (target.width - width) // 2, (target.height - height) // 2
    target = target.crop((left, top, left + width, top + height))
    low = target.resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    bicubic = low.resize((width, height), Image.Resampling.BICUBIC)
    wanted = np.asarray(target)
    return Score(
        bicubic=psnr_db(np.asarray(bicubic), wanted, scale),
        bundle=psnr_db(enlarged(network, descriptor, np.asarray(low)), wanted, scale),
    )


def enlarged(network: nn.Module, descriptor: Descriptor, image: np.ndarray) -> np.ndarray:
    """uint8 [h, w, 3] -> uint8 [scale*h, scale*w, 3], in fp32."""
    x = to_range(torch.from_numpy(image.copy()).permute(2, 0, 1)[None], *descriptor.value_range)
    with torch.inference_mode():
        y = to_unit(network(x), *descriptor.value_range)
    return (y[0] * 255).round().byte().permute(1, 2, 0).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, help="folder of an upscaling bundle")
    parser.add_argument("photos", type=Path, help="folder of photographs that were not in training")
    options = parser.parse_args()
    description, weights = (options.bundle / name for name in ("bundle.json", WEIGHTS))
    described, network = bundle.read(description.read_bytes(), weights.read_bytes())
    print(f"{'photograph':30} {'bicubic':>8} {'bundle':>8} {'gain':>7}   dB")
    scores = []
    for path in sorted(p for p in options.photos.iterdir() if p.is_file()):
        with Image.open(path) as photo:
            scores.append(score(network, described.descriptor, photo))
        print(f"{path.name:30} {scores[-1].bicubic:8.2f} {scores[-1].bundle:8.2f} {scores[-1].gain:+7.2f}")
    bicubic, ours, gain = (float(np.mean([getattr(s, n) for s in scores])) for n in ("bicubic", "bundle", "gain"))
    print(f"{f'mean of {len(scores)}':30} {bicubic:8.2f} {ours:8.2f} {gain:+7.2f}")


if __name__ == "__main__":
    main()
