"""Whole training steps of pix2pix, SRGAN, style transfer and GAN agree with their papers' equations in plain torch.

Networks, losses and updates are stated here anew; nothing but initial weights and batches comes from the recipes.
"""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from recast.models.networks.vgg import vgg_of
from recast.models.recipes import cgan, gan, pix2pix, srgan, style_transfer
from recast.models.recipes.recipe import RecipeAssets
from tests.models.originals import MSR, Style, Unet
from tests.models.test_recipes import PlainRoad, batch_of, photograph
from tests.models.test_vgg import by_hand, published

STEPS = 2


def assert_weights_agree(recipe, theirs, learning_rate, rename=lambda network, key: key):
    """Weights moved as the reference's did. Adam makes much of the least gradients' rounding, so by quantiles."""
    for name, network in theirs.items():
        ours = dict(recipe.networks[name].named_parameters())
        for key, parameter in network.named_parameters():
            if key.endswith("weight") and parameter.dim() > 1:  # biases before a norm: their gradients are rounding
                off = (ours[rename(name, key)] - parameter).abs() / learning_rate
                assert off.mean() < 0.02, (name, key)
                assert off.quantile(0.9) < 0.05, (name, key)


def assert_scalars_agree(given, expected):
    for name, value in expected.items():
        torch.testing.assert_close(
            given[name].detach(), value.detach(), rtol=1e-4, atol=1e-6, msg=lambda m, n=name: n + m
        )


def patch_discriminator(ndf):
    """NLayerDiscriminator, three layers, batch norm: 70 px patches."""
    stages, before = [nn.Conv2d(6, ndf, 4, 2, 1), nn.LeakyReLU(0.2)], ndf
    for after, stride in ((2 * ndf, 2), (4 * ndf, 2), (8 * ndf, 1)):
        stages += [nn.Conv2d(before, after, 4, stride, 1, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
        before = after
    return nn.Sequential(*stages, nn.Conv2d(before, 1, 4, 1, 1))


def test_pix2pix():
    """Equation 4 with D first and halved; the U-Net has the reference's names and draws the same dropout."""
    lr = 2e-4
    config = dataclasses.replace(
        pix2pix.PAPER, size_px=64, load_px=70, num_downs=6, ngf=4, ndf=4, batch_size=2, learning_rate=lr
    )
    torch.manual_seed(0)
    recipe = pix2pix.Pix2Pix(config, RecipeAssets())
    batch = batch_of(recipe, (photograph(), photograph(seed=1)), 2)
    G, D = Unet(downs=6, ngf=4), patch_discriminator(4)
    G.load_state_dict(recipe.networks["G"].state_dict())
    D.load_state_dict({k.removeprefix("model."): v for k, v in recipe.networks["D"].state_dict().items()})
    adam = {name: torch.optim.Adam(net.parameters(), lr=lr, betas=(0.5, 0.999)) for name, net in (("G", G), ("D", D))}
    x, y = (batch[name].float() / 127.5 - 1 for name in ("x", "y"))
    bce = F.binary_cross_entropy_with_logits
    for step in range(STEPS):
        torch.manual_seed(step)
        given = PlainRoad(recipe).step(batch)
        torch.manual_seed(step)
        fake = G(x)
        real_logits, fake_logits = D(torch.cat([x, y], 1)), D(torch.cat([x, fake.detach()], 1))
        d_real, d_fake = bce(real_logits, torch.ones_like(real_logits)), bce(fake_logits, torch.zeros_like(fake_logits))
        adam["D"].zero_grad()
        (0.5 * (d_real + d_fake)).backward()
        adam["D"].step()
        logits = D(torch.cat([x, fake], 1))
        adversarial, l1 = bce(logits, torch.ones_like(logits)), (fake - y).abs().mean()
        adam["G"].zero_grad()
        (adversarial + 100 * l1).backward()
        adam["G"].step()
        expected = {"D real": d_real, "D fake": d_fake, "G adversarial": adversarial, "G L1": l1}
        assert_scalars_agree(given, expected)
    assert_weights_agree(recipe, {"G": G, "D": D}, lr, lambda name, key: f"model.{key}" if name == "D" else key)


class PaperDiscriminator(nn.Module):
    """SRGAN's figure 4: k3n64s1 k3n64s2 k3n128s1 ... k3n512s2, dense 1024, dense 1."""

    def __init__(self, size, ndf):
        super().__init__()
        stages, before = [nn.Conv2d(3, ndf, 3, 1, 1), nn.LeakyReLU(0.2)], ndf
        for width, stride in ((1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2)):
            stages += [nn.Conv2d(before, width * ndf, 3, stride, 1), nn.BatchNorm2d(width * ndf), nn.LeakyReLU(0.2)]
            before = width * ndf
        self.features = nn.Sequential(*stages)
        self.judge = nn.Sequential(
            nn.Linear(8 * ndf * (size // 16) ** 2, 16 * ndf), nn.LeakyReLU(0.2), nn.Linear(16 * ndf, 1)
        )

    def forward(self, x):
        return self.judge(self.features(x).flatten(1))


@pytest.mark.parametrize("preset", ["paper", "esrgan"])
def test_srgan(preset):
    """Equation 3: VGG19's features (relu5_4 squared, or conv5_4 absolute), pixels, 10^-3 or 5 10^-3 times -log D."""
    lr = 1e-4
    config = dataclasses.replace(
        srgan.PRESETS[preset], network="msrresnet", channels=8, blocks=3, ndf=4, patch_px=8, batch_size=2,
        learning_rate=lr, ema_decay=0.0,
    )  # fmt: skip
    state = published(19, divide=8)
    torch.manual_seed(0)
    recipe = srgan.SRGAN(config, RecipeAssets(loss_network=state))
    batch = batch_of(recipe, (photograph(),), 2)
    G, D = MSR(4), PaperDiscriminator(32, 4)
    G.load_state_dict(recipe.networks["G"].state_dict())
    D.load_state_dict(recipe.networks["D"].state_dict())
    betas = (0.9, 0.999) if preset == "paper" else (0.9, 0.99)
    adam = {name: torch.optim.Adam(net.parameters(), lr=lr, betas=betas) for name, net in (("G", G), ("D", D))}
    x, y = batch["low"].float() / 255, batch["high"].float() / 255
    place, distance = (35, F.mse_loss) if preset == "paper" else (34, F.l1_loss)
    weights = (0.0, 0.00615, 1e-3) if preset == "paper" else (1e-2, 1.0, 5e-3)
    bce = F.binary_cross_entropy_with_logits
    for _ in range(STEPS):
        given = PlainRoad(recipe).step(batch)
        fake = G(x)
        real_logits, fake_logits = D(y), D(fake.detach())
        d_real, d_fake = bce(real_logits, torch.ones_like(real_logits)), bce(fake_logits, torch.zeros_like(fake_logits))
        adam["D"].zero_grad()
        (d_real + d_fake).backward()
        adam["D"].step()
        perceptual = distance(by_hand(state, fake, place), by_hand(state, y, place))
        pixel, logits = distance(fake, y), D(fake)
        adversarial = bce(logits, torch.ones_like(logits))
        adam["G"].zero_grad()
        (weights[0] * pixel + weights[1] * perceptual + weights[2] * adversarial).backward()
        adam["G"].step()
        expected = {
            "D real": d_real, "D fake": d_fake, "G pixel": pixel, "G perceptual": perceptual,
            "G adversarial": adversarial,
        }  # fmt: skip
        assert_scalars_agree(given, expected)
    assert_weights_agree(recipe, {"G": G, "D": D}, lr)


def test_style_transfer():
    """torch's own example of Johnson et al.: content at relu2_2, Gram matrices at four layers of VGG16, 0 to 255."""
    lr = 1e-3
    config = dataclasses.replace(style_transfer.PAPER, size_px=32, style_px=0, batch_size=2, learning_rate=lr)
    state = published(16, divide=8)
    torch.manual_seed(0)
    recipe = style_transfer.StyleTransfer(
        config, RecipeAssets(loss_network=state, style_image=photograph(40, 48, seed=5))
    )
    batch = batch_of(recipe, (photograph(),), 2)
    G = Style()
    G.load_state_dict(recipe.networks["G"].state_dict())
    adam = torch.optim.Adam(G.parameters(), lr=lr)
    x = batch["x"].float()
    style = torch.from_numpy(photograph(40, 48, seed=5)).permute(2, 0, 1)[None].float() / 255
    places = (3, 8, 15, 22)

    def gram(t):
        flat = t.reshape(t.shape[0], t.shape[1], -1)
        return flat @ flat.transpose(1, 2) / (t.shape[1] * t.shape[2] * t.shape[3])

    for _ in range(STEPS):
        given = PlainRoad(recipe).step(batch)
        y = G(x)
        content = 1e5 * F.mse_loss(by_hand(state, y / 255, 8), by_hand(state, x / 255, 8))
        styled = 1e10 * sum(
            F.mse_loss(gram(by_hand(state, y / 255, p)), gram(by_hand(state, style, p)).expand(2, -1, -1))
            for p in places
        )
        adam.zero_grad()
        (content + styled).backward()
        adam.step()
        assert_scalars_agree(given, {"G content": content, "G style": styled})
    assert_weights_agree(recipe, {"G": G}, lr)


LOSSES = {
    "vanilla": (lambda v: -F.logsigmoid(v), lambda v: -F.logsigmoid(-v), lambda v: -F.logsigmoid(v)),
    "minimax": (lambda v: -F.logsigmoid(v), lambda v: -F.logsigmoid(-v), lambda v: F.logsigmoid(-v)),
    "lsgan": (lambda v: (v - 1) ** 2, lambda v: v**2, lambda v: (v - 1) ** 2),
    "hinge": (lambda v: F.relu(1 - v), lambda v: F.relu(1 + v), lambda v: -v),
    "wgan-gp": (lambda v: -v, lambda v: v, lambda v: -v),
}


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("adversarial", LOSSES)
def test_gan(adversarial, labelled):
    """Algorithm 1 with two steps of D, its own noise for each, and G's step on the last; equation 2 with labels."""
    real_loss, fake_loss, fooling_loss = LOSSES[adversarial]
    config = dataclasses.replace(gan.TINY, adversarial=adversarial, norm="instance", batch_size=8, learning_rate=1e-3)
    torch.manual_seed(0)
    kind = cgan.CGAN if labelled else gan.GAN
    recipe = kind(config, RecipeAssets(classes=("a", "b", "c") if labelled else ()))
    batch = batch_of(recipe, (photograph(),), 8)
    G, D = copy.deepcopy(recipe.networks["G"]), copy.deepcopy(recipe.networks["D"])
    adam = {name: torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.5, 0.999)) for name, net in (("G", G), ("D", D))}
    for step in range(STEPS):
        torch.manual_seed(step)
        given = PlainRoad(recipe).step(batch)
        torch.manual_seed(step)
        for part in (slice(0, 4), slice(4, 8)):
            x = batch["x"][part].float() / 127.5 - 1
            label = (batch["label"][part],) if labelled else ()
            z = torch.randn(4, config.latent)
            fake = G(z, *label)
            d_real, d_fake = real_loss(D(x, *label)).mean(), fake_loss(D(fake.detach(), *label)).mean()
            loss = d_real + d_fake
            if adversarial == "wgan-gp":
                share = torch.rand(4, 1, 1, 1)
                between = ((1 - share) * x + share * fake.detach()).requires_grad_(True)
                (slope,) = torch.autograd.grad(D(between, *label).sum(), between, create_graph=True)
                loss = loss + 10 * ((slope.square().sum((1, 2, 3)).sqrt() - 1) ** 2).mean()
            adam["D"].zero_grad()
            loss.backward()
            adam["D"].step()
        fooling = fooling_loss(D(fake, *label)).mean()
        adam["G"].zero_grad()
        fooling.backward()
        adam["G"].step()
        assert_scalars_agree(given, {"D real": d_real, "D fake": d_fake, "G adversarial": fooling})
    assert_weights_agree(recipe, {"G": G, "D": D}, 1e-3)


def test_the_loss_network_stays_as_it_is():
    """Nothing of it learns, and nothing of it is kept in gradients."""
    state = published(16, divide=16)
    recipe = style_transfer.StyleTransfer(
        dataclasses.replace(style_transfer.TINY, style_layers="relu1_1"),
        RecipeAssets(loss_network=state, style_image=photograph(seed=5)),
    )
    PlainRoad(recipe).step(batch_of(recipe, (photograph(),), 2))
    fresh = vgg_of(state).state_dict()
    kept = recipe.fixed["loss network"]
    assert all(torch.equal(value, fresh[key]) for key, value in kept.state_dict().items())
    assert all(p.grad is None for p in kept.parameters())
