"""What the sphere schemes ask for after every step of the optimiser."""

import torch
from torch import nn

from .embedding import Head, Table
from .layers import Linear


@torch.no_grad()
def normalize_weights_(model: nn.Module) -> None:
    """Bring every direction in `model` back to length one; nothing happens off the sphere.

    Source: Loshchilov et al. 2024 (nGPT), section 2.6, step 2. A new model is normalised already.
    The place is right after the optimiser's step, before any running average of the weights moves;
    an average of directions is shorter than one, so it wants this too before it is used.
    """
    for module in model.modules():
        if isinstance(module, Linear | Table | Head):
            module.normalize_()
