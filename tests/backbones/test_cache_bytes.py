"""What a cache holds a token and layer, by preset, is what its attention's formula says."""

import pytest
import torch
from torch import Tensor

from backbones.attention.projections import Grouped
from backbones.made import Made
from backbones.model import LanguageModel
from backbones.past import LayerCache
from backbones.presets import PRESETS, Sizes, sized

H, D, C = 8, 16, 128
SIZES = Sizes(vocab_size=11, context=64, d_model=C, n_layers=2, n_heads=H)
R, TURNING = 48, 8  # the latent's rank and turning part: of presets, 48/128 of C and half a head
FULL = 2 * H * D  # keys and values of every head

# Numbers a token and layer, in the model's type. H heads, D wide, keys and values each:
# all heads 2 H D; half as many key heads H D. A pair of DIFF V1 is two key heads and a value of
# twice the width, so 4 (H/2) D. A latent is r + R, and a QK norm adds one number a key head.
NUMBERS = dict.fromkeys(PRESETS, FULL) | {
    "llama_gqa": FULL // 2,
    "diff_v2": FULL // 2,
    "dint_v1_pair2": FULL // 2,
    "mla": R + TURNING,
    "mla_query_latent": R + TURNING,
    "dint_ngpt_mla": R + TURNING + H,
}
# What does not grow, in float32: the mean that DINT's prefix goes on from, heads times value width.
RUNNING = {
    "dint_v1": (H // 2) * 2 * D,
    "dint_v1_pair2": H * D,
    "dint_ngpt": (H // 2) * 2 * D,
    "dint_ngpt_standard": (H // 2) * 2 * D,
    "dint_ngpt_no_qk_norm": (H // 2) * 2 * D,
    "dint_ngpt_mla": H * D,
}
SUMS = {"dint_v2": H // 2}  # and what does: a float32 sum a head and key, for the visible mean


def held(cache: LayerCache) -> tuple[int, int]:
    """Bytes of memory, and of what goes beside it."""
    running = 0 if cache.running is None else cache.running.nbytes
    return sum(x.nbytes for x in cache.memory or ()), running


def caches_after(model: LanguageModel, *lengths: int) -> LayerCache:
    caches = model.new_caches()
    with torch.no_grad(), Made().used():
        for length in lengths:
            model(torch.randint(11, (1, length)), caches)
    return caches[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PRESETS)
def test_bytes_a_token_are_the_formulas(name: str, dtype: torch.dtype) -> None:
    model = LanguageModel(sized(PRESETS[name], SIZES)).to(dtype).eval()
    for lengths in ((20,), (7, 1, 1, 11)):  # at once, and as decoding appends them
        memory, running = held(caches_after(model, *lengths))
        assert memory == 20 * NUMBERS[name] * dtype.itemsize
        assert running == 4 * (RUNNING.get(name, 0) + 20 * SUMS.get(name, 0))


def test_every_preset_has_its_formula() -> None:
    assert set(NUMBERS) == set(PRESETS)
    assert set(RUNNING) | set(SUMS) == {
        name for name, config in PRESETS.items() if config.integral != "none"
    }


def test_planted_keys_kept_for_every_head(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Grouped.memory

    def repeated(self: Grouped, x: Tensor, start: int) -> tuple[Tensor, ...]:
        return tuple(part.repeat_interleave(2, dim=1) for part in memory(self, x, start))

    monkeypatch.setattr(Grouped, "memory", repeated)
    with pytest.raises(AssertionError):
        test_bytes_a_token_are_the_formulas("llama_gqa", torch.float32)
