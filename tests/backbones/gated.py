# gated.py: an attention rule of your own, each head's read times a gate of its token
import torch
from torch import Tensor, nn

from backbones.attention import Attention
from backbones.attention.kernel import Reading
from backbones.attention.rules import Softmax
from backbones.config import BackboneConfig
from backbones.layers import Linear
from backbones.model import LanguageModel


class Gated(nn.Module):
    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.softmax = Softmax(config)
        self.layout = self.softmax.layout  # heads, maps, key sets, widths that it wants
        self.gate = Linear(config.d_model, config.n_heads, sphere=None, std=0.02, bias=True)

    def forward(self, reading: Reading) -> Tensor:  # -> [B, H, T, E]
        gate = torch.sigmoid(self.gate(reading.x))  # [B, T, H], of each token itself alone
        return gate.transpose(1, 2).unsqueeze(-1) * self.softmax(reading)


def gated(config: BackboneConfig) -> LanguageModel:
    model = LanguageModel(config)
    for each in model.modules():
        if isinstance(each, Attention):
            each.add_module("rule", Gated(config))
    return model
