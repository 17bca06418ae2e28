"""Whether torch.compile pays: a step of training with it and without, and what it costs first.

B batch   T positions
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.compiler import config

from ..errors import UsageError
from ..losses import cross_entropy
from ..model import LanguageModel
from .cases import Case, Check, Row, Scale, Way
from .clock import time_case, untold
from .models import model_config, random_batch, training_way_of

COMPILERS = ("c++", "g++", "clang++")
NEAR = Check(of="outputs", limit=1e-4)


def compiled_rows(
    name: str, scale: Scale, rounds: int, on_round: Callable[[int, int], None] = untold
) -> list[Row]:
    """`llama` at each shape, eager and compiled: ratio, seconds of warm-up, steps to win it back.

    UsageError where there is no C++ compiler.
    """
    if not any(map(shutil.which, (os.environ.get("CXX", ""), *COMPILERS))):
        raise UsageError(
            f"bench {name} wants a C++ compiler and found none of {', '.join(COMPILERS)}: "
            "install one, or set CXX"
        )
    rows: list[Row] = []
    for each in scale.shapes():
        torch.compiler.reset()
        eager, compiled = (LanguageModel(model_config("llama", each)) for _ in range(2))
        compiled.load_state_dict(eager.state_dict())
        fast = torch.compile(compiled)
        plain = first_pass(eager, eager, each)
        warm_up = first_pass(fast, compiled, each) - plain
        ways = [
            training_way_of("eager", eager, eager, each),
            training_way_of("compiled", compiled, fast, each),
        ]
        first, second = time_case(name, case_of(each.shape, ways), rounds, on_round)
        rows += [first, with_warm_up(first, second, warm_up)]
    return rows


def case_of(label: str, ways: list[Way]) -> Case:
    """Two ways that were built already."""
    return Case(label=label, build=lambda: ways, check=NEAR)


def with_warm_up(first: Row, second: Row, warm_up: float) -> Row:
    """The second of two ways, which took so many seconds to begin.

    `break_even` is the steps after which it has taken less time in all; none where it never will.
    """
    saved = ((first.ms or 0.0) - (second.ms or 0.0)) / 1000
    steps = round(warm_up / saved) if saved > 0 else None
    return replace(second, warm_up=warm_up, break_even=steps)


def first_pass(logits: Callable[[Tensor], Tensor], model: nn.Module, scale: Scale) -> float:
    """Wall seconds of the first pass forward and back, of which compiling is nearly all.

    Nothing that was compiled before is used, and the model is as it was.
    """
    inputs, targets = random_batch(scale.vocab_size, scale.batch, scale.context)
    with config.patch(force_disable_caches=True):  # type: ignore[attr-defined]
        began = time.perf_counter()
        cross_entropy(logits(inputs), targets).backward()
        took = time.perf_counter() - began
    model.zero_grad()
    return took
