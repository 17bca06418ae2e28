"""What a language model is trained on, in nats a token.

B batch   T positions   V vocabulary
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of -log softmax(logits)[target]: logits [B, T, V], targets [B, T] -> scalar, nats.

    Taken in float32 for narrower logits: a sum over V in bfloat16 loses the third digit.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(wide.flatten(0, 1), targets.flatten())
