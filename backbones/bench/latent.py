"""What a latent costs and saves: reading it expanded or absorbed, and its rank against full keys.

B batch   T new positions   S positions so far
"""

import torch
from torch import Tensor

from ..attention.fused import Masking, padded
from ..attention.kernel import attend
from ..attention.latent import Compressed
from ..attention.layout import Heads
from ..attention.rules import build_rule
from ..config import BackboneConfig
from ..model import LanguageModel
from ..past import LayerCache
from .cases import Case, Check, Scale, Way
from .models import count, model_config, training_way

RANKS = (64, 48, 32, 16, 8)  # at a model width of 128
EQUAL = Check(of="outputs", limit=1e-4)


def latent_cases(scale: Scale) -> list[Case]:
    """One new token after S others, one layer, a batch of one."""
    return [
        Case(label=f"1 after {s}", build=lambda s=s: latent_ways(scale, s), check=EQUAL)
        for s in scale.lengths
    ]


@torch.no_grad()
def latent_ways(scale: Scale, past: int) -> list[Way]:
    """Keys and values rebuilt for all positions, or read without rebuilding them."""
    config = model_config("mla", scale)
    assert config.latent is not None
    projection = Compressed(config, config.latent, build_rule(config, 0).layout)
    memory = projection.memory(torch.randn(1, past + 1, config.d_model), 0)
    query = projection.queries(torch.randn(1, 1, config.d_model), past)

    @torch.no_grad()
    def read(heads: Heads) -> list[Tensor]:
        return [heads.lift(attend(heads.q, heads.k, heads.v, scale=projection.scale))]

    @torch.no_grad()
    def expanded() -> list[Tensor]:
        return read(projection.expanded(query, memory))

    @torch.no_grad()
    def absorbed() -> list[Tensor]:
        return read(projection.absorbed(query, memory))

    @torch.no_grad()
    def heads_as_queries() -> list[Tensor]:
        heads = projection.absorbed(query, memory)
        q = heads.q.flatten(1, 3).unsqueeze(1)  # [B, 1, H, D]: all see all of the past, no mask
        how = Masking(mask=None, is_causal=False, scale=projection.scale)
        reads = padded(q, heads.k[:, :, 0], heads.v[:, :, 0], how)
        return [heads.lift(reads.unflatten(2, heads.q.shape[1:4]).squeeze(1))]

    return [
        Way(name="expanded", run=expanded),
        Way(name="absorbed", run=absorbed),
        Way(name="absorbed, latents read once", run=heads_as_queries),
    ]


def rank_cases(scale: Scale) -> list[Case]:
    """A step of training, and one more token after a long past, of whole models."""
    past = max(scale.lengths)
    nothing = Check(of="nothing")
    return [
        Case(label="training step", build=lambda: step_ways(scale), check=nothing),
        Case(
            label=f"next token after {past}", build=lambda: token_ways(scale, past), check=nothing
        ),
    ]


def rank_configs(scale: Scale) -> dict[str, BackboneConfig]:
    """`llama`, and `mla` at each rank, by name."""
    mla = model_config("mla", scale)
    assert mla.latent is not None
    ranks = [rank * scale.d_model // 128 for rank in RANKS]
    latents = {f"rank {rank}": mla.latent.replace(rank=rank) for rank in ranks}
    narrow = {name: mla.replace(latent=latent) for name, latent in latents.items()}
    return {"llama": model_config("llama", scale)} | narrow


def step_ways(scale: Scale) -> list[Way]:
    """A whole step of training each."""
    return [training_way(name, config, scale) for name, config in rank_configs(scale).items()]


def token_ways(scale: Scale, past: int) -> list[Way]:
    """One more token each, the past cached."""
    return [token_way(name, config, past) for name, config in rank_configs(scale).items()]


@torch.no_grad()
def token_way(name: str, config: BackboneConfig, past: int) -> Way:
    """The logits after one more token; the cache is as before when it is done."""
    model = LanguageModel(config).eval()
    ids = torch.randint(config.vocab_size or 1, (1, past + 1))
    caches = model.new_caches()
    model(ids[:, :-1], caches)
    kept = [LayerCache(memory=c.memory, running=c.running) for c in caches]

    @torch.no_grad()
    def run() -> list[Tensor]:
        again = [LayerCache(memory=c.memory, running=c.running) for c in kept]
        return [model(ids[:, -1:], again)]

    held = sum(x.nbytes for x in kept[0].memory or ())
    return Way(name=name, run=run, parameters=count(model), cached_bytes=held // past)
