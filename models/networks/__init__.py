"""The networks, by the names that bundles and recipes call them."""

from torch import nn

from models.networks.dcgan import DCGANGenerator
from models.networks.edsr import EDSR
from models.networks.face_embedder import FaceEmbedder
from models.networks.face_generator import FaceGenerator
from models.networks.face_transformer import FaceTransformer
from models.networks.identity import Identity
from models.networks.msrresnet import MSRResNet
from models.networks.patchgan import PatchGAN
from models.networks.resnet_generator import ResnetGenerator
from models.networks.retinaface import RetinaFace
from models.networks.rrdb import RRDBNet
from models.networks.srresnet import SRResNet
from models.networks.srvgg import SRVGGNetCompact
from models.networks.transform_net import TransformNet
from models.networks.unet import UNet
from models.networks.vgg import VGG

NETWORKS: dict[str, type[nn.Module]] = {
    "dcgan_generator": DCGANGenerator,
    "edsr": EDSR,
    "face_embedder": FaceEmbedder,
    "face_generator": FaceGenerator,
    "face_transformer": FaceTransformer,
    "identity": Identity,
    "msrresnet": MSRResNet,
    "patchgan": PatchGAN,
    "resnet_generator": ResnetGenerator,
    "retinaface": RetinaFace,
    "rrdb": RRDBNet,
    "srresnet": SRResNet,
    "srvgg": SRVGGNetCompact,
    "transform_net": TransformNet,
    "unet": UNet,
    "vgg": VGG,
}
