"""The training steps of pytorch-CycleGAN-and-pix2pix, stated in plain torch: what the recipes' steps are timed against.

As its `optimize_parameters` does it: contiguous layout, Adam as torch has it, each forward by itself. Networks have the
reference's structure and parameter names, so that both sides begin with the same weights.
"""

import itertools
import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.models.originals import Resnet, Unet


def discriminator(in_channels: int, norm: type[nn.Module], ndf: int = 64) -> nn.Sequential:
    """NLayerDiscriminator of three layers: patches of 70 px."""
    stages: list[nn.Module] = [nn.Conv2d(in_channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)]
    before, bias = ndf, norm is nn.InstanceNorm2d
    for after, stride in ((2 * ndf, 2), (4 * ndf, 2), (8 * ndf, 1)):
        stages += [nn.Conv2d(before, after, 4, stride, 1, bias=bias), norm(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*stages, nn.Conv2d(before, 1, 4, 1, 1))


def learning(networks: list[nn.Module], wanted: bool) -> None:
    for network in networks:
        for parameter in network.parameters():
            parameter.requires_grad = wanted


class Pix2Pix:
    """unet_256 with batch norm, cross entropy, lambda 100."""

    def __init__(self) -> None:
        self.G, self.D = Unet(downs=8, ngf=64), discriminator(6, nn.BatchNorm2d)
        self.networks = {"G": self.G, "D": self.D}
        self.optimizer_G = torch.optim.Adam(self.G.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_D = torch.optim.Adam(self.D.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        fake_B = self.G(A)
        learning([self.D], True)
        self.optimizer_D.zero_grad()
        fake_AB = torch.cat((A, fake_B), 1)
        pred_fake = self.D(fake_AB.detach())
        loss_D_fake = F.binary_cross_entropy_with_logits(pred_fake, torch.zeros_like(pred_fake))
        pred_real = self.D(torch.cat((A, B), 1))
        loss_D_real = F.binary_cross_entropy_with_logits(pred_real, torch.ones_like(pred_real))
        ((loss_D_fake + loss_D_real) * 0.5).backward()
        self.optimizer_D.step()
        learning([self.D], False)
        self.optimizer_G.zero_grad()
        pred_fake = self.D(torch.cat((A, fake_B), 1))
        loss_G_GAN = F.binary_cross_entropy_with_logits(pred_fake, torch.ones_like(pred_fake))
        loss_G_L1 = F.l1_loss(fake_B, B) * 100.0
        (loss_G_GAN + loss_G_L1).backward()
        self.optimizer_G.step()
        return {"D real": loss_D_real, "D fake": loss_D_fake, "G adversarial": loss_G_GAN, "G L1": loss_G_L1 / 100}


class CycleGAN:
    """resnet_9blocks with instance norm, least squares, lambdas 10 and 0.5, pools of 50."""

    def __init__(self) -> None:
        self.G_A, self.G_B = (Resnet(ngf=64, blocks=9) for _ in range(2))
        self.D_A, self.D_B = (discriminator(3, nn.InstanceNorm2d) for _ in range(2))
        self.networks = {"G": self.G_A, "F": self.G_B, "D_Y": self.D_A, "D_X": self.D_B}
        both_G = itertools.chain(self.G_A.parameters(), self.G_B.parameters())
        both_D = itertools.chain(self.D_A.parameters(), self.D_B.parameters())
        self.optimizer_G = torch.optim.Adam(both_G, lr=2e-4, betas=(0.5, 0.999))
        self.optimizer_D = torch.optim.Adam(both_D, lr=2e-4, betas=(0.5, 0.999))
        self.pools: dict[str, list[Tensor]] = {"A": [], "B": []}

    def step(self, A: Tensor, B: Tensor) -> dict[str, Tensor]:
        fake_B = self.G_A(A)
        rec_A = self.G_B(fake_B)
        fake_A = self.G_B(B)
        rec_B = self.G_A(fake_A)
        learning([self.D_A, self.D_B], False)
        self.optimizer_G.zero_grad()
        idt_A = F.l1_loss(self.G_A(B), B)
        idt_B = F.l1_loss(self.G_B(A), A)
        gan_A, gan_B = self._real(self.D_A(fake_B)), self._real(self.D_B(fake_A))
        cycle_A, cycle_B = F.l1_loss(rec_A, A), F.l1_loss(rec_B, B)
        (gan_A + gan_B + 10 * (cycle_A + cycle_B) + 5 * (idt_A + idt_B)).backward()
        self.optimizer_G.step()
        learning([self.D_A, self.D_B], True)
        self.optimizer_D.zero_grad()
        loss_D_A = self._discriminated(self.D_A, B, self._pooled("B", fake_B))
        loss_D_B = self._discriminated(self.D_B, A, self._pooled("A", fake_A))
        self.optimizer_D.step()
        return {"D_Y": loss_D_A, "D_X": loss_D_B, "cycle X": cycle_A, "cycle Y": cycle_B, "identity": idt_A + idt_B}

    def _real(self, verdicts: Tensor) -> Tensor:
        return F.mse_loss(verdicts, torch.ones_like(verdicts))

    def _discriminated(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        verdicts = D(fake.detach())
        loss = (self._real(D(real)) + F.mse_loss(verdicts, torch.zeros_like(verdicts))) * 0.5
        loss.backward()
        return loss

    def _pooled(self, name: str, images: Tensor) -> Tensor:
        pool, given = self.pools[name], []
        for image in images.detach().unbind(0):
            if len(pool) < 50:
                pool.append(image.clone())
                given.append(image)
            elif random.random() > 0.5:
                place = random.randrange(50)
                given.append(pool[place].clone())
                pool[place] = image.clone()
            else:
                given.append(image)
        return torch.stack(given)
