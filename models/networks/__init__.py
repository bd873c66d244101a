"""The networks, by the names that bundles and recipes call them."""

from torch import nn

from models.networks.edsr import EDSR
from models.networks.identity import Identity
from models.networks.patchgan import PatchGAN
from models.networks.resnet_generator import ResnetGenerator
from models.networks.unet import UNet

NETWORKS: dict[str, type[nn.Module]] = {
    "edsr": EDSR,
    "identity": Identity,
    "patchgan": PatchGAN,
    "resnet_generator": ResnetGenerator,
    "unet": UNet,
}
