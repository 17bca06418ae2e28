"""Every bench by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..text.corpora import load_corpus
from .arms import arms
from .attention import diff_cases, dint_cases, softmax_cases, visible_cases
from .cases import FULL, Case, Row, Scale
from .clock import time_case, untold
from .compiled import compiled_rows
from .decoding import decoding_cases, sampling_cases
from .latent import latent_cases, rank_cases
from .memory import memory_rows
from .peers import nanogpt_cases, transformers_cases
from .race import Told, race
from .sphere import normalisation_cases
from .training import by_hand_cases, ffn_cases, precision_cases, simple_cases, step_cases

SEEDS = (1, 2, 3)  # of the race


def nothing(_: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How benches are run."""

    rounds: int = 15
    scale: Scale = FULL
    data: Path = Path("data/text")  # downloaded corpora
    tell: Callable[[str], None] = field(default=nothing)  # called with what is being done
    on_round: Callable[[int, int], None] = field(default=untold)  # rounds or steps done, of all


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """A question about speed or memory, and how it is answered."""

    about: str
    rows: Callable[[str, Settings], list[Row]]  # its name, how -> a row a way and case
    quick: bool = False  # whether it is run when none is named


def timed(about: str, cases: Callable[[Scale], list[Case]], *, quick: bool = False) -> Bench:
    """A bench whose cases are checked, then timed."""

    def rows(name: str, how: Settings) -> list[Row]:
        found: list[Row] = []
        for case in cases(how.scale):
            how.tell(f"{name}: {case.label}")
            found += time_case(name, case, how.rounds, how.on_round)
        return found

    return Bench(about=about, rows=rows, quick=quick)


def memory(name: str, how: Settings) -> list[Row]:
    """Peak memory of every preset."""
    return memory_rows(name, how.scale, lambda text: how.tell(f"{name}: {text}"))


def compiled(name: str, how: Settings) -> list[Row]:
    """What torch.compile saves and costs."""
    how.tell(f"{name}: compiling")
    return compiled_rows(name, how.scale, how.rounds, how.on_round)


def time_to_loss(name: str, how: Settings) -> list[Row]:
    """The race, on tinyshakespeare."""
    corpus = load_corpus("tinyshakespeare", how.data)
    told = Told(lambda text: how.tell(f"{name}: {text}"), how.on_round)
    return race(arms(corpus), corpus, SEEDS, told)


BENCHES: dict[str, Bench] = {
    "softmax": timed("fused against written-out attention", softmax_cases, quick=True),
    "diff": timed("five ways to read through DIFF's two maps", diff_cases, quick=True),
    "dint": timed("DINT's prefix mean, dense and as a running mean", dint_cases, quick=True),
    "dint-visible": timed("DINT's visible mean, whole and in chunks of rows", visible_cases),
    "ngpt-normalisation": timed(
        "bringing nGPT's weights back to length one", normalisation_cases, quick=True
    ),
    "mla-decoding": timed("reading a latent expanded or absorbed", latent_cases, quick=True),
    "ffn": timed("a full and a low-rank SwiGLU of one size (cost)", ffn_cases, quick=True),
    "sampling": timed("sampling with and without a cache", sampling_cases, quick=True),
    "ngpt-simple": timed("a training step of nGPT, full and simple (cost)", simple_cases),
    "by-hand": timed("a training step, derivatives by torch and by hand", by_hand_cases),
    "llama-transformers": timed(
        "a training step of llama and of transformers' LLaMA", transformers_cases
    ),
    "classic-nanogpt": timed("a training step of classic and of a plain GPT", nanogpt_cases),
    "llama-compiled": Bench(about="a training step, eager and by torch.compile", rows=compiled),
    "decoding": timed("256 positions of every preset, with and without a cache", decoding_cases),
    "precision": timed("a training step in fp32 and bf16-mixed", precision_cases),
    "mla": timed("rank against step time and cached bytes (cost)", rank_cases),
    "steps": timed("a training step of every preset at one width (cost)", step_cases),
    "memory": Bench(about="peak memory of every preset at three lengths", rows=memory),
    "time-to-loss": Bench(
        about="training seconds until 1.8857 nats a character, 3 seeds (ten minutes)",
        rows=time_to_loss,
    ),
}


def chosen(names: Sequence[str]) -> list[str]:
    """The names, or the quick ones where there is none; UsageError for an unknown one."""
    for name in names:
        if name not in BENCHES:
            near = difflib.get_close_matches(name, BENCHES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(BENCHES)}"
            raise UsageError(f"bench {name!r} does not exist: {hint}")
    return list(names) or [name for name, bench in BENCHES.items() if bench.quick]
