"""Inception-v3 as the published Fréchet Inception Distances use it (Szegedy et al. 2015; Heusel et al. 2017).

The parameter names are those of the widely used conversion of TensorFlow's 2015-12-05 graph,
`pt_inception-2015-12-05-6726825d.pth`. That graph differs from other Inception-v3s: average pooling leaves the padding
out of the mean, the last block pools by maximum, and there are 1008 classes. Scores from another variant are not FIDs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adverb.errors import UserError

Size = int | tuple[int, int]


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU. Padding keeps the size unless `same` is False."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: int = 1, same: bool = True):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


def average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def maximum(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=1, padding=1)


def halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2)


class BlockA(nn.Module):
    """35×35: 1×1, 5×5, two 3×3, pool (figure 5)."""

    def __init__(self, inputs: int, pooled: int):
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3)
        self.branch_pool = ConvNorm(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        fives = self.branch5x5_2(self.branch5x5_1(x))
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), fives, threes, self.branch_pool(average(x))], dim=1)


class BlockB(nn.Module):
    """35×35 to 17×17."""

    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3 = ConvNorm(inputs, 384, 3, stride=2, same=False)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), threes, halve(x)], dim=1)


class BlockC(nn.Module):
    """17×17: 7×7 convolutions factorised into 1×7 and 7×1 (figure 6)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 192, 1)
        self.branch7x7_1 = ConvNorm(inputs, width, 1)
        self.branch7x7_2 = ConvNorm(width, width, (1, 7))
        self.branch7x7_3 = ConvNorm(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvNorm(inputs, width, 1)
        self.branch7x7dbl_2 = ConvNorm(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvNorm(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvNorm(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvNorm(width, 192, (1, 7))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        sevens = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        return torch.cat([self.branch1x1(x), sevens, twice, self.branch_pool(average(x))], dim=1)


class BlockD(nn.Module):
    """17×17 to 8×8."""

    def __init__(self, inputs: int):
        super().__init__()
        self.branch3x3_1 = ConvNorm(inputs, 192, 1)
        self.branch3x3_2 = ConvNorm(192, 320, 3, stride=2, same=False)
        self.branch7x7x3_1 = ConvNorm(inputs, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1))
        self.branch7x7x3_4 = ConvNorm(192, 192, 3, stride=2, same=False)

    def forward(self, x: Tensor) -> Tensor:
        threes = self.branch3x3_2(self.branch3x3_1(x))
        sevens = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([threes, sevens, halve(x)], dim=1)


class BlockE(nn.Module):
    """8×8: branches that fan out into 1×3 and 3×1 (figure 7)."""

    def __init__(self, inputs: int, pool):
        super().__init__()
        self.pool = pool
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        fans = [self.branch3x3_2a(single), self.branch3x3_2b(single)]
        fans += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([self.branch1x1(x), *fans, self.branch_pool(self.pool(x))], dim=1)


class Inception(nn.Module):
    """RGB images [N, 3, H, W] in [-1, 1] to pool3 features [N, 2048]; call `eval()` first."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2, same=False)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, same=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, same=False)
        self.Mixed_5b = BlockA(192, pooled=32)
        self.Mixed_5c = BlockA(256, pooled=64)
        self.Mixed_5d = BlockA(288, pooled=64)
        self.Mixed_6a = BlockB(288)
        self.Mixed_6b = BlockC(768, width=128)
        self.Mixed_6c = BlockC(768, width=160)
        self.Mixed_6d = BlockC(768, width=160)
        self.Mixed_6e = BlockC(768, width=192)
        self.Mixed_7a = BlockD(768)
        self.Mixed_7b = BlockE(1280, pool=average)
        self.Mixed_7c = BlockE(2048, pool=maximum)
        self.fc = nn.Linear(2048, 1008)  # not used for features, but part of every checkpoint

    def forward(self, images: Tensor) -> Tensor:
        # Without antialiasing, as in the reference: a "better" resize gives numbers that compare with nothing.
        x = F.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # [N, 64, 147, 147]
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(halve(x)))  # [N, 192, 71, 71]
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(halve(x))))  # [N, 288, 35, 35]
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # [N, 768, 17, 17]
        x = self.Mixed_6e(self.Mixed_6d(x))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # [N, 2048, 8, 8]
        return x.mean(dim=(2, 3))


def load_inception(path: str | Path) -> Inception:
    """Read a `.pth` or `.safetensors` file with the names above; UserError if it is missing or of another network."""
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"No Inception weights at {path}.\n"
            "Give the path of pt_inception-2015-12-05-6726825d.pth (from the releases of mseitzer/pytorch-fid)."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a file of weights that can be read safely: {reason}") from error

    with torch.device("meta"):
        network = Inception()
    network.to_empty(device="cpu")
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # old checkpoints have none
    wrong = sorted(
        name
        for name, value in wanted.items()
        if name not in counters and (name not in weights or weights[name].shape != value.shape)
    )
    if wrong:
        raise UserError(
            f"{path} is not the Inception-v3 of the Fréchet Inception Distance: "
            f"{len(wrong)} of its {len(wanted) - len(counters)} weights are missing or of another shape, "
            f"such as {wrong[0]}.\nUse pt_inception-2015-12-05-6726825d.pth (mseitzer/pytorch-fid)."
        )
    network.load_state_dict({n: weights.get(n, torch.tensor(0)) for n in wanted})
    return network.eval()
