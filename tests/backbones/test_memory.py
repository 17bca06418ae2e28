"""No rule and no projection holds a T x T matrix: the most held at once, to the byte.

Law: at T = 4096 a layer holds less than T x T bytes, which is what a mask of booleans alone would
take and a quarter of one head's map; DINT's visible mean holds less than that map.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backbones.attention import integral, kernel
from backbones.bench.cases import Scale
from backbones.bench.memory import memory_rows, peak_bytes
from backbones.bench.models import forward_and_backward
from backbones.model import LanguageModel
from backbones.presets import PRESETS, Sizes, sized

T = 4096
SIZES = Sizes(vocab_size=5, context=T, d_model=16, n_layers=1, n_heads=2)
LINEAR = [
    "llama",
    "classic",
    "llama_qk_norm",
    "diff_v1",
    "diff_v2",
    "dint_v1",
    "dint_v1_pair2",
    "mla",
    "mla_query_latent",
    "dint_ngpt_mla",
]


def prefill(name: str) -> Callable[[], object]:
    """All positions into an empty cache, without gradients."""
    model = LanguageModel(sized(PRESETS[name], SIZES)).eval()
    ids = torch.randint(5, (1, T))

    @torch.no_grad()
    def run() -> Tensor:
        return model(ids, model.new_caches())

    return run


def training(name: str) -> Callable[[], object]:
    """A pass forward and back."""
    return forward_and_backward(sized(PRESETS[name], SIZES), batch=1, length=T)


def test_the_count_is_of_what_is_held_at_once() -> None:
    def run() -> Tensor:
        a = torch.ones(1000)
        b = a + a
        del a
        return b + b  # may lie where a was

    assert peak_bytes(run) == peak_bytes(run) == 2 * 4000


@pytest.mark.parametrize("how", [prefill, training])
@pytest.mark.parametrize("name", LINEAR)
def test_no_matrix_of_all_positions_is_held(
    name: str, how: Callable[[str], Callable[[], object]]
) -> None:
    assert peak_bytes(how(name)) < T * T


@pytest.mark.parametrize("how", [prefill, training])
def test_the_visible_mean_holds_a_chunk_of_its_map(
    how: Callable[[str], Callable[[], object]],
) -> None:
    assert peak_bytes(how("dint_v2")) < 4 * T * T


def test_planted_attention_that_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def naive(q: Tensor, k: Tensor, v: Tensor, *, scale: float, order: None) -> Tensor:
        return kernel.weights(q, k, scale=scale, order=order) @ v

    monkeypatch.setattr(kernel, "attend", naive)
    assert peak_bytes(prefill("llama")) > 4 * T * T


def test_planted_visible_mean_of_the_whole_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integral, "ROWS", T)
    assert peak_bytes(prefill("dint_v2")) > 4 * T * T


def test_the_memory_bench_has_every_preset_at_every_length() -> None:
    rows = memory_rows("memory", Scale(d_model=32, vocab_size=5, long=(8, 16)), lambda _: None)
    assert {(row.case, row.way) for row in rows} == {
        (f"T={t}", name) for t in (8, 16) for name in PRESETS
    }
    assert all(row.peak_mb is not None and row.peak_mb > 0 for row in rows)
