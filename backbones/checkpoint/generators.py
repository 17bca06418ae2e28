"""The generators that a run draws from, of every one of its processes, as tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..distributed import Ranks


def generators_of(ranks: Ranks) -> dict[str, Tensor]:
    """States by name: "torch" of the first process, "torch/1" of the next; "cuda" where it is."""
    own = {"torch": torch.get_rng_state()}
    if ranks.means.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(ranks.means.device)
    return {
        numbered(kind, rank): each
        for kind, state in own.items()
        for rank, each in enumerate(ranks.all_of(state))
    }


def set_generators(states: Mapping[str, Tensor], ranks: Ranks) -> None:
    """Those of this process go on; where there are none, for it is a new one, its seed stands."""
    if (own := numbered("torch", ranks.rank)) in states:
        torch.set_rng_state(states[own])
    if (own := numbered("cuda", ranks.rank)) in states and ranks.means.device.type == "cuda":
        torch.cuda.set_rng_state(states[own], ranks.means.device)


def numbered(kind: str, rank: int) -> str:
    """The name of a process' generator; the first one's has no number."""
    return f"{kind}/{rank}" if rank else kind
