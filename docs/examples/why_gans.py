"""Why GANs: where a question has two equally good answers, averaging losses give neither.

Each input shows the outline of a disc; its answer is the disc filled in, black or white, as a coin decides. A network
that minimises the squared error paints the mean of the two, grey. The absolute error is the same for every shade
between the answers, so nothing pulls it out of the grey either. A discriminator has never seen a grey disc: the
generator that has to get past it paints black ones and white ones.

    python docs/examples/why_gans.py docs/images/why-gans.png
"""

import sys
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from recast.models.losses.adversarial import ADVERSARIAL

SIDE_PX, BATCH, LATENT, WIDTH = 16, 32, 4, 24
SHOWN = 6
"""Questions in the picture, one a row."""


def questions(count: int) -> tuple[Tensor, Tensor]:
    """Outlines [N, 1, S, S], and how much of each pixel lies inside them."""
    centres = SIDE_PX / 2 + 3 * torch.rand(count, 2, 1, 1) - 2
    radius = 4 + 1.5 * torch.rand(count, 1, 1)
    y, x = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
    distance = torch.hypot(y - centres[:, 0], x - centres[:, 1]) - radius
    outline = torch.exp(-distance.square())
    return outline[:, None], torch.sigmoid(-3 * distance)[:, None]


def answers(inside: Tensor) -> Tensor:
    """The discs, all black (-1) or all white (1) on grey (0)."""
    return inside * (2.0 * torch.randint(2, (len(inside), 1, 1, 1)) - 1)


def generator(noise: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1 + noise, WIDTH, 5, padding=2), nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 5, padding=2), nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 5, padding=2), nn.ReLU(),
        nn.Conv2d(WIDTH, 1, 5, padding=2), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 1, 4),
    )  # fmt: skip


def with_noise(outline: Tensor) -> Tensor:
    z = torch.randn(len(outline), LATENT, 1, 1).expand(-1, -1, SIDE_PX, SIDE_PX)
    return torch.cat([outline, z], 1)


def averaging(loss: Callable[[Tensor, Tensor], Tensor], steps: int) -> nn.Module:
    """A network that is paid by how far each pixel is from the answer."""
    G = generator(0)
    optimizer = torch.optim.Adam(G.parameters(), lr=1e-3)
    for _ in range(steps):
        outline, inside = questions(BATCH)
        optimizer.zero_grad()
        loss(G(outline), answers(inside)).backward()
        optimizer.step()
    return G


def adversarial(steps: int) -> nn.Module:
    """A network that is paid by whether a discriminator believes its answers, of which that sees two to each question
    (Lin et al. 2018, PacGAN, arXiv:1712.04086): two of one colour every time would give the generator away."""
    G, D, gan = generator(LATENT), discriminator(), ADVERSARIAL["vanilla"]
    g_optimizer, d_optimizer = (torch.optim.Adam(n.parameters(), lr=1e-3, betas=(0.5, 0.9)) for n in (G, D))
    for _ in range(steps):
        outline, inside = questions(BATCH)
        real = torch.cat([answers(inside), answers(inside)], 1)
        fake = torch.cat([G(with_noise(outline)), G(with_noise(outline))], 1)
        d_optimizer.zero_grad()
        real_logits, fake_logits = (D(torch.cat([outline, y], 1)) for y in (real, fake.detach()))
        (gan.real(real_logits) + gan.fake(fake_logits)).backward()
        d_optimizer.step()
        g_optimizer.zero_grad()
        gan.generator_loss(D(torch.cat([outline, fake], 1))).backward()
        g_optimizer.step()
    return G


@torch.no_grad()
def experiment(steps: int) -> dict[str, Tensor]:
    """What each kind of training answers to the same questions: [SHOWN, 1, S, S] in [-1, 1] by name."""
    torch.manual_seed(0)
    with torch.enable_grad():
        squared, absolute = averaging(F.mse_loss, steps), averaging(F.l1_loss, steps)
        gan = adversarial(steps)
    torch.manual_seed(1)
    outline, inside = questions(SHOWN)
    return {
        "question": 2 * outline - 1,
        "answer": -inside,
        "or answer": inside,
        "squared error": squared(outline),
        "absolute error": absolute(outline),
        "GAN": gan(with_noise(outline)),
        "GAN, other noise": gan(with_noise(outline)),
        "inside": inside,
    }


def picture(columns: dict[str, Tensor], enlarged: int = 4) -> Image.Image:
    """A row for each question, a column for each kind of answer."""
    rows = torch.cat([F.pad(images, (1, 1, 1, 1), value=1.0) for images in columns.values()], 3)
    pixels = ((rows.flatten(0, 2) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
    return Image.fromarray(np.repeat(np.repeat(pixels, enlarged, 0), enlarged, 1))


if __name__ == "__main__":
    made = experiment(steps=int(sys.argv[2]) if len(sys.argv) > 2 else 600)
    inside = made.pop("inside") > 0.95
    for name, images in made.items():
        print(f"{name:18} {[round(float(image[part].mean()), 2) for image, part in zip(images, inside, strict=True)]}")
    picture(made).save(sys.argv[1])
