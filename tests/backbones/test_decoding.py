"""One token at a time: the past is not moved, not repeated, and belongs to one cache."""

import pytest
import torch
from torch import Tensor
from variants import SMALL_PRESETS

from backbones.attention import kernel
from backbones.attention.kernel import attend, one_query
from backbones.bench.memory import peak_bytes
from backbones.generate import Sampling, generate
from backbones.losses import cross_entropy
from backbones.model import LanguageModel
from backbones.past import LayerCache, Room

# heads, maps, key groups, key sets, value groups, query width, value width
READS = {
    "gqa": (4, 1, 2, 1, 2, 6, 6),
    "mqa": (4, 1, 1, 1, 1, 6, 6),
    "v1": (4, 2, 4, 2, 4, 6, 12),
    "v1 gqa": (4, 2, 2, 2, 2, 6, 12),
    "v2": (4, 2, 4, 1, 4, 6, 6),
    "v2 gqa": (4, 2, 2, 1, 2, 6, 6),
    "latent": (4, 1, 1, 1, 1, 10, 7),
    "latent, v1": (4, 2, 1, 1, 1, 10, 7),
    "latent, keys of one length": (4, 2, 4, 2, 1, 10, 7),
}


def drawn(name: str, s: int) -> tuple[Tensor, Tensor, Tensor]:
    h, m, g, sets, gv, d, e = READS[name]
    torch.manual_seed(0)
    q, k, v = (
        torch.randn(3, *shape, dtype=torch.float64)
        for shape in ((h, m, 1, d), (g, sets, s, d), (gv, 1, s, e))
    )
    return q, k, v


def repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(0.3 q k') v, every key and value written out for the head and map that reads it."""
    h, m = q.shape[1:3]
    k = k.repeat_interleave(h // k.shape[1], 1).expand(-1, -1, m, -1, -1)
    v = v.repeat_interleave(h // v.shape[1], 1)
    return (0.3 * q @ k.mT).softmax(-1) @ v


@pytest.mark.parametrize("name", READS)
def test_one_query_reads_what_repeated_keys_say(name: str) -> None:
    q, k, v = drawn(name, 9)
    torch.testing.assert_close(one_query(q, k, v, 0.3), repeated(q, k, v), rtol=0, atol=1e-14)
    torch.testing.assert_close(attend(q, k, v, scale=0.3), repeated(q, k, v), rtol=0, atol=1e-14)


def test_planted_heads_of_another_group(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = kernel.by_key_set
    monkeypatch.setattr(kernel, "by_key_set", lambda x, g, k: grouped(x.flip(1), g, k))
    q, k, v = drawn("v2 gqa", 9)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(one_query(q, k, v, 0.3), repeated(q, k, v), rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", READS)
def test_nothing_as_large_as_the_past_is_made(name: str) -> None:
    q, k, v = drawn(name, 1000)
    assert peak_bytes(lambda: attend(q, k, v, scale=0.3)) < k.nbytes + v.nbytes
    assert peak_bytes(lambda: repeated(q, k, v)) > k.nbytes + v.nbytes  # as it was


def rows(*numbers: float) -> tuple[Tensor, ...]:
    return (torch.tensor(numbers).view(1, 1, 1, -1, 1),)


def numbers(cache: LayerCache) -> list[float]:
    assert cache.memory is not None
    return cache.memory[0].flatten().tolist()


def forked() -> tuple[LayerCache, LayerCache]:
    """Two caches that began as one."""
    cache = LayerCache()
    cache.remember(rows(1, 2))
    cache.remember(rows(3))
    return cache, LayerCache(memory=cache.memory, room=cache.room)


@torch.no_grad()
def test_two_caches_that_began_as_one_do_not_write_to_each_other() -> None:
    one, other = forked()
    one.remember(rows(4))
    other.remember(rows(5))
    one.remember(rows(6))
    assert numbers(one) == [1, 2, 3, 4, 6]
    assert numbers(other) == [1, 2, 3, 5]


@torch.no_grad()
def test_planted_room_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = forked()
    monkeypatch.setattr(Room, "goes_on", lambda *_: True)
    one.remember(rows(4))
    other.remember(rows(5))
    assert numbers(other) != [1, 2, 3, 5]


@torch.no_grad()
def test_the_past_moves_seldom_and_is_kept_whole() -> None:
    cache, places = LayerCache(), set()
    for i in range(100):
        (memory,) = cache.remember(rows(i))
        places.add(memory.data_ptr())
    assert numbers(cache) == list(range(100))
    assert len(places) < 8


def test_a_past_with_gradients_is_not_written_to() -> None:
    cache = LayerCache()
    first = torch.ones(1, 1, 1, 2, 1, requires_grad=True)
    cache.remember((first,))
    (memory,) = cache.remember(rows(3))
    assert torch.autograd.grad(memory.square().sum(), first)[0].flatten().tolist() == [2, 2]


def test_what_was_written_may_be_trained_on() -> None:
    model = LanguageModel(SMALL_PRESETS["llama"])
    ids = generate(model.eval(), torch.zeros(2, 1, dtype=torch.long), 9, Sampling())
    assert not ids.is_inference()
    cross_entropy(model.train()(ids[:, :-1]), ids[:, 1:]).backward()
