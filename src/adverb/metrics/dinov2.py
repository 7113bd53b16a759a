"""DINOv2 vision transformers (Oquab et al. 2023), read from the files that transformers writes.

Its features follow human judgement of generated images better than Inception's (Stein et al. 2023).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adverb.errors import UserError

IMAGE_SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on [0, 1]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, bias: bool):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        # [N, T, width] -> [N, heads, T, width / heads]
        q, k, v = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GeluMLP(nn.Module):
    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGLU(nn.Module):
    """The giant model's: two thirds of the hidden width, rounded up to a multiple of 8."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        hidden = (int(hidden * 2 / 3) + 7) // 8 * 8
        self.weights_in = nn.Linear(width, 2 * hidden)
        self.weights_out = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.weights_in(x).chunk(2, dim=-1)
        return self.weights_out(F.silu(gate) * value)


class Block(nn.Module):
    def __init__(self, config: dict):
        super().__init__()
        width, eps = config["hidden_size"], config.get("layer_norm_eps", 1e-6)
        mlp = SwiGLU if config.get("use_swiglu_ffn") else GeluMLP
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attention = Attention(width, config["num_attention_heads"], config.get("qkv_bias", True))
        self.scale1 = nn.Parameter(torch.ones(width))
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = mlp(width, int(width * config.get("mlp_ratio", 4)))
        self.scale2 = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale1 * self.attention(self.norm1(x))
        return x + self.scale2 * self.mlp(self.norm2(x))


class DINOv2(nn.Module):
    """RGB images [N, 3, H, W] in [-1, 1] to the class token's features [N, hidden_size]; `config` as in config.json."""

    def __init__(self, config: dict):
        super().__init__()
        width, patch = config["hidden_size"], config.get("patch_size", 14)
        self.grid = config.get("image_size", 224) // patch  # of the trained position embeddings
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + self.grid**2, width))
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.layers = nn.ModuleList(Block(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.LayerNorm(width, eps=config.get("layer_norm_eps", 1e-6))

    def forward(self, images: Tensor) -> Tensor:
        x = F.interpolate(images, size=(IMAGE_SIZE, IMAGE_SIZE), mode="bicubic", align_corners=False, antialias=True)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        return self.tokens((x.clamp(-1, 1) * 0.5 + 0.5 - mean) / std)[:, 0]

    def tokens(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, H, W] to the last hidden states [N, 1 + patches, hidden_size]."""
        x = self.patches(pixels)  # [N, width, rows, columns]
        positions = self._positions(x.shape[2], x.shape[3])
        x = x.flatten(2).transpose(1, 2)  # [N, patches, width]
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + positions
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def _positions(self, rows: int, columns: int) -> Tensor:
        if (rows, columns) == (self.grid, self.grid):
            return self.positions
        grid = self.positions[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)  # [1, width, grid, grid]
        grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)


RENAMED = (  # what the files call it, what we do
    ("dinov2.", ""),
    ("embeddings.patch_embeddings.projection", "patches"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.cls_token", "cls_token"),
    ("encoder.layer.", "layers."),
    ("attention.attention.", "attention."),
    ("attention.output.dense", "attention.out"),
    ("layer_scale1.lambda1", "scale1"),
    ("layer_scale2.lambda1", "scale2"),
    ("layernorm.", "norm."),
)


def load_dinov2(folder: str | Path) -> DINOv2:
    """Read `config.json` and `model.safetensors`; UserError if they are missing or of another model."""
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UserError(f"No {name} in {folder}: give a folder as transformers saves a Dinov2Model.")
    config = json.loads((folder / "config.json").read_text())
    if config.get("model_type") != "dinov2":
        raise UserError(f"{folder}/config.json says model_type {config.get('model_type')!r}; expected 'dinov2'.")
    weights = {}
    for name, value in load_file(folder / "model.safetensors").items():
        for theirs, ours in RENAMED:
            name = name.replace(theirs, ours)
        weights[name] = value.float()
    with torch.device("meta"):
        network = DINOv2(config)
    network.to_empty(device="cpu")
    try:
        missing = network.load_state_dict(weights, strict=False).missing_keys  # extra: mask token, classifier
    except RuntimeError as error:
        raise UserError(f"The weights in {folder} do not fit its config.json: {str(error).splitlines()[-1]}") from error
    if missing:
        raise UserError(f"{folder}/model.safetensors lacks {len(missing)} weights, such as {missing[0]}.")
    return network.eval()
