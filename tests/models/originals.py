"""Other programs' generators, written apart from `models/networks` in plain torch, with the published files' names."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(before, after, kernel=3, **more):
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **more)


class Block(nn.Module):
    """pytorch-CycleGAN-and-pix2pix's ResnetBlock."""

    def __init__(self, width, norm, dropout, bias):
        super().__init__()
        half = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        other = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)]
        self.conv_block = nn.Sequential(*half, nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *other)

    def forward(self, x):
        return x + self.conv_block(x)


def no_norm(_width):
    """`--norm none`: an Identity, and, as with batch norm, convolutions without biases before it."""
    return nn.Identity()


class Resnet(nn.Module):
    def __init__(self, ngf=8, blocks=6, norm=nn.InstanceNorm2d, dropout=False):
        super().__init__()
        bias = norm not in (nn.BatchNorm2d, no_norm)
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, ngf, 7, bias=bias), norm(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, 2, 1, bias=bias), norm(2 * width), nn.ReLU()]
        layers += [Block(4 * ngf, norm, dropout, bias) for _ in range(blocks)]
        for width in (4 * ngf, 2 * ngf):
            layers += [nn.ConvTranspose2d(width, width // 2, 3, 2, 1, 1, bias=bias), norm(width // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, 3, 7), nn.Tanh())

    def forward(self, x):
        return self.model(x)


def old_instance_norm(width):
    """As files of before torch 0.4 have it: with running statistics, which a forward in eval mode must not use."""
    return nn.InstanceNorm2d(width, track_running_stats=True).train()


class Skip(nn.Module):
    """pytorch-CycleGAN-and-pix2pix's UnetSkipConnectionBlock."""

    def __init__(self, outer, inner, sub=None, outermost=False, norm=nn.BatchNorm2d, given=None, dropout=False):
        super().__init__()
        self.outermost = outermost
        bias = norm not in (nn.BatchNorm2d, no_norm)
        down = nn.Conv2d(given or outer, inner, 4, 2, 1, bias=bias)
        if outermost:
            layers = [down, sub, nn.ReLU(), nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1), nn.Tanh()]
        elif sub is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=bias)
            layers = [nn.LeakyReLU(0.2), down, norm(inner), sub, nn.ReLU(), up, norm(outer)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, downs=6, ngf=4, norm=nn.BatchNorm2d):
        super().__init__()
        block = Skip(8 * ngf, 8 * ngf, norm=norm)
        for _ in range(downs - 5):
            block = Skip(8 * ngf, 8 * ngf, block, norm=norm, dropout=True)
        for outer in (4, 2, 1):
            block = Skip(outer * ngf, 2 * outer * ngf, block, norm=norm)
        self.model = Skip(3, ngf, block, outermost=True, norm=norm, given=3)

    def forward(self, x):
        return self.model(x)


class SRBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = conv(width, width), conv(width, width)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(x)))


class MSR(nn.Module):
    def __init__(self, scale, width=8, blocks=3):
        super().__init__()
        self.scale = scale
        self.conv_first = conv(3, width)
        self.body = nn.Sequential(*(SRBlock(width) for _ in range(blocks)))
        self.upconv1 = conv(width, width * (9 if scale == 3 else 4))
        if scale == 4:
            self.upconv2 = conv(width, width * 4)
        self.conv_hr, self.conv_last = conv(width, width), conv(width, 3)
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        out = self.body(self.act(self.conv_first(x)))
        out = self.act(nn.PixelShuffle(3 if self.scale == 3 else 2)(self.upconv1(out)))
        if self.scale == 4:
            out = self.act(nn.PixelShuffle(2)(self.upconv2(out)))
        base = F.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return self.conv_last(self.act(self.conv_hr(out))) + base


class Dense(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.conv1, self.conv2 = conv(width, growth), conv(width + growth, growth)
        self.conv3, self.conv4 = conv(width + 2 * growth, growth), conv(width + 3 * growth, growth)
        self.conv5 = conv(width + 4 * growth, width)

    def forward(self, x):
        a = F.leaky_relu(self.conv1(x), 0.2)
        b = F.leaky_relu(self.conv2(torch.cat((x, a), 1)), 0.2)
        c = F.leaky_relu(self.conv3(torch.cat((x, a, b), 1)), 0.2)
        d = F.leaky_relu(self.conv4(torch.cat((x, a, b, c), 1)), 0.2)
        return self.conv5(torch.cat((x, a, b, c, d), 1)) * 0.2 + x


class Residual(nn.Module):
    def __init__(self, width, growth):
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (Dense(width, growth) for _ in range(3))

    def forward(self, x):
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class ESRGAN(nn.Module):
    def __init__(self, scale, width=8, growth=4, blocks=2):
        super().__init__()
        self.pack = {4: 1, 2: 2, 1: 4}[scale]
        self.conv_first = conv(3 * self.pack**2, width)
        self.body = nn.Sequential(*(Residual(width, growth) for _ in range(blocks)))
        self.conv_body, self.conv_up1, self.conv_up2 = conv(width, width), conv(width, width), conv(width, width)
        self.conv_hr, self.conv_last = conv(width, width), conv(width, 3)

    def forward(self, x):
        x = self.conv_first(F.pixel_unshuffle(x, self.pack))
        x = x + self.conv_body(self.body(x))
        x = F.leaky_relu(self.conv_up1(F.interpolate(x, scale_factor=2)), 0.2)
        x = F.leaky_relu(self.conv_up2(F.interpolate(x, scale_factor=2)), 0.2)
        return self.conv_last(F.leaky_relu(self.conv_hr(x), 0.2))


class Compact(nn.Module):
    def __init__(self, scale, width=8, convolutions=4, act=None):
        super().__init__()
        self.scale = scale
        act = act or (lambda: nn.PReLU(width))
        layers = [conv(3, width), act()]
        for _ in range(convolutions):
            layers += [conv(width, width), act()]
        self.body = nn.ModuleList([*layers, conv(width, 3 * scale**2)])

    def forward(self, x):
        out = x
        for layer in self.body:
            out = layer(out)
        return nn.PixelShuffle(self.scale)(out) + F.interpolate(x, scale_factor=self.scale, mode="nearest")


class Conv(nn.Module):
    """fast_neural_style's ConvLayer and UpsampleConvLayer."""

    def __init__(self, before, after, kernel, stride=1, up=None):
        super().__init__()
        self.up, self.pad = up, nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(before, after, kernel, stride)

    def forward(self, x):
        return self.conv2d(self.pad(F.interpolate(x, mode="nearest", scale_factor=self.up) if self.up else x))


class StyleBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = Conv(128, 128, 3), Conv(128, 128, 3)
        self.in1, self.in2 = (nn.InstanceNorm2d(128, affine=True) for _ in range(2))

    def forward(self, x):
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class Style(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = Conv(3, 32, 9), Conv(32, 64, 3, 2), Conv(64, 128, 3, 2)
        self.in1, self.in2, self.in3, self.in4, self.in5 = (
            nn.InstanceNorm2d(n, affine=True) for n in (32, 64, 128, 64, 32)
        )
        self.res1, self.res2, self.res3, self.res4, self.res5 = (StyleBlock() for _ in range(5))
        self.deconv1, self.deconv2, self.deconv3 = Conv(128, 64, 3, up=2), Conv(64, 32, 3, up=2), Conv(32, 3, 9)

    def forward(self, x):
        y = F.relu(self.in3(self.conv3(F.relu(self.in2(self.conv2(F.relu(self.in1(self.conv1(x)))))))))
        y = self.res5(self.res4(self.res3(self.res2(self.res1(y)))))
        return self.deconv3(F.relu(self.in5(self.deconv2(F.relu(self.in4(self.deconv1(y)))))))


def conv_bn(before, after, kernel=3, stride=1, leaky=0.0, relu=True):
    layers = [nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(after)]
    return nn.Sequential(*layers, *([nn.LeakyReLU(leaky)] if relu else []))


def conv_dw(before, after, stride):
    return nn.Sequential(
        nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False), nn.BatchNorm2d(before), nn.LeakyReLU(0.1),
        nn.Conv2d(before, after, 1, 1, 0, bias=False), nn.BatchNorm2d(after), nn.LeakyReLU(0.1),
    )  # fmt: skip


class Ssh(nn.Module):
    def __init__(self, width):
        super().__init__()
        leaky = 0.1 if width <= 64 else 0
        self.conv3X3 = conv_bn(width, width // 2, relu=False)
        self.conv5X5_1 = conv_bn(width, width // 4, leaky=leaky)
        self.conv5X5_2 = conv_bn(width // 4, width // 4, relu=False)
        self.conv7X7_2 = conv_bn(width // 4, width // 4, leaky=leaky)
        self.conv7x7_3 = conv_bn(width // 4, width // 4, relu=False)

    def forward(self, x):
        five = self.conv5X5_1(x)
        seven = self.conv7x7_3(self.conv7X7_2(five))
        return F.relu(torch.cat([self.conv3X3(x), self.conv5X5_2(five), seven], dim=1))


class Head(nn.Module):
    def __init__(self, width, values):
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(width, 2 * values, 1)

    def forward(self, x):
        out = self.conv1x1(x).permute(0, 2, 3, 1).contiguous()
        return out.view(out.shape[0], -1, self.values)


class Bottleneck(nn.Module):
    """torchvision's."""

    def __init__(self, before, width, stride=1, downsample=False):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, width * 4, 1, bias=False), nn.BatchNorm2d(width * 4)
        if downsample:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width * 4, 1, stride, bias=False), nn.BatchNorm2d(width * 4)
            )
        self.has = downsample

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + (self.downsample(x) if self.has else x))


class Retina(nn.Module):
    """Pytorch_Retinaface's RetinaFace: BGR less its mean -> boxes, class logits, landmarks."""

    def __init__(self, backbone):
        super().__init__()
        self.body, self.fpn = nn.Module(), nn.Module()
        self.small = backbone == "mobilenet0.25"
        if self.small:
            taken, width = (64, 128, 256), 64
            self.body.stage1 = nn.Sequential(
                conv_bn(3, 8, stride=2, leaky=0.1), conv_dw(8, 16, 1), conv_dw(16, 32, 2), conv_dw(32, 32, 1),
                conv_dw(32, 64, 2), conv_dw(64, 64, 1),
            )  # fmt: skip
            self.body.stage2 = nn.Sequential(conv_dw(64, 128, 2), *[conv_dw(128, 128, 1) for _ in range(5)])
            self.body.stage3 = nn.Sequential(conv_dw(128, 256, 2), conv_dw(256, 256, 1))
        else:
            taken, width = (512, 1024, 2048), 256
            self.body.conv1, self.body.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            before = 64
            for n, (w, depth) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
                blocks = [Bottleneck(before, w, 1 if n == 1 else 2, downsample=True)]
                blocks += [Bottleneck(w * 4, w) for _ in range(depth - 1)]
                setattr(self.body, f"layer{n}", nn.Sequential(*blocks))
                before = w * 4
        leaky = 0.1 if width <= 64 else 0
        for n, channels in enumerate(taken, 1):
            setattr(self.fpn, f"output{n}", conv_bn(channels, width, 1, leaky=leaky))
        self.fpn.merge1, self.fpn.merge2 = (conv_bn(width, width, leaky=leaky) for _ in range(2))
        self.ssh1, self.ssh2, self.ssh3 = Ssh(width), Ssh(width), Ssh(width)
        self.ClassHead, self.BboxHead, self.LandmarkHead = (
            nn.ModuleList(Head(width, values) for _ in range(3)) for values in (2, 4, 10)
        )

    def forward(self, x):
        b = self.body
        if self.small:
            one = b.stage1(x)
            two = b.stage2(one)
            three = b.stage3(two)
        else:
            x = b.layer1(F.max_pool2d(F.relu(b.bn1(b.conv1(x))), 3, 2, 1))
            one = b.layer2(x)
            two = b.layer3(one)
            three = b.layer4(two)
        f = self.fpn
        three = f.output3(three)
        two = f.output2(two)
        two = f.merge2(two + F.interpolate(three, size=two.shape[2:], mode="nearest"))
        one = f.output1(one)
        one = f.merge1(one + F.interpolate(two, size=one.shape[2:], mode="nearest"))
        features = [self.ssh1(one), self.ssh2(two), self.ssh3(three)]
        return tuple(
            torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
