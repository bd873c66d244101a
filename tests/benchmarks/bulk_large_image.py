"""A 100-megapixel image through the road's stages: `python -m tests.benchmarks.bulk_large_image`.

Each case runs in a process of its own. Its greatest resident memory, less what it had before the image came, is given
as a multiple of the bytes of the image's and the result's pixels together.
"""

import json
import os
import resource
import subprocess
import sys
import time

import cv2
import numpy as np

from recast.models.descriptor import Descriptor
from recast.models.networks import NETWORKS
from recast.pipeline.bulk.generator import Generator
from recast.pipeline.images.decode import decode
from recast.pipeline.images.encode import Encoder

WIDTH, HEIGHT = 11_600, 8_700
CASES = {
    "exact tiles, x1": ("identity", {}, Descriptor(task="translate", halo_px=16)),
    "exact tiles, x2": (
        "edsr", {"channels": 8, "blocks": 1, "scale": 2}, Descriptor(task="upscale", scale=2, halo_px=8),
    ),
    "blended tiles, x1": ("identity", {}, Descriptor(task="translate", halo_px=None)),
}  # fmt: skip


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mib() -> float:
    with open("/proc/self/statm") as facts:
        return int(facts.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(case: str, format: str) -> None:
    network, arguments, descriptor = CASES[case]
    generator = Generator(NETWORKS[network](**arguments), descriptor, device="cpu", precision="fp32", batch_size=1)
    encoder = Encoder(format=format)
    data = sys.stdin.buffer.read()
    before, began = resident_mib(), time.perf_counter()
    picture = decode(data, 10**9)
    (result,) = generator([picture])
    encoded = encoder.encode(result.picture)
    facts = {
        "seconds": time.perf_counter() - began,
        "mib": peak_mib() - before,
        "pixels_mib": (picture.pixels.nbytes + result.picture.pixels.nbytes) / 2**20,
        "encoded_mib": len(encoded) / 2**20,
        "note": result.picture.notes[-1],
    }
    print(json.dumps(facts))


def photograph() -> bytes:
    """Blurred noise and edges, as JPEG."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (HEIGHT // 50, WIDTH // 50, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))[1].tobytes()


def main() -> None:
    if len(sys.argv) == 3:
        measure(*sys.argv[1:])
        return
    data = photograph()
    for case in CASES:
        for format in ("jpeg", "png"):
            command = [sys.executable, "-m", "tests.benchmarks.bulk_large_image", case, format]
            said = json.loads(subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout)
            print(
                f"{WIDTH * HEIGHT / 1e6:.0f} MP, {case}, {format}: {said['seconds']:.0f} s, {said['mib']:.0f} MiB, "
                f"{said['mib'] / said['pixels_mib']:.2f} times the pixels of image and result "
                f"({said['pixels_mib']:.0f} MiB; {said['note']})",
                flush=True,
            )


if __name__ == "__main__":
    main()
