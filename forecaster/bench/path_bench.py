"""A bench of path sampling: bars a second by the prior and by the learner, at N paths and at 2N."""

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from forecaster.bars import Panel
from forecaster.bench.clock import Case, Way
from forecaster.bench.markets import HORIZONS, Size, market
from forecaster.learner import BackboneForecaster, Keep, fit_fields
from forecaster.path_source import PathSource, Walk, Walker
from forecaster.paths.shapes import fit_shapes
from forecaster.paths.table import PathBlock
from forecaster.protocol import Origins

PRESET = "llama"
BRIEF = {"steps": 1}  # a network that has hardly learnt is as fast as one that has


def path_cases(size: Size) -> list[Case]:
    """Blocks are drawn and let go: what is held is that of a block."""
    panel = market(size.symbols, size.bars)
    source = source_of(panel, size)
    bars = size.starts * size.steps * size.paths

    def way(name: str, of: Callable[[Walk], Iterator[PathBlock]], times: int) -> Way:
        walk = Walk(times * size.paths, size.steps, 0)
        return Way(name=name, run=lambda: deque(of(walk), maxlen=0), work=times * bars)

    label = f"{size.starts} origins, {size.paths} paths of {size.steps} bars"
    ways = (
        way(PRESET, source.from_learner, 1),
        way(f"{PRESET}, twice as many", source.from_learner, 2),
        way("its prior alone", source.from_prior, 1),
    )
    return [Case(label=label, unit="bars", ways=ways)]


def source_of(panel: Panel, size: Size) -> PathSource:
    """A learner of the given sizes, hardly trained, at the last bars of the panel's symbols."""
    learner = size.learner.model_copy(update=BRIEF)
    fitted = BackboneForecaster(PRESET, learner).fit(panel, HORIZONS)
    heads = tuple(each.heads for each in fit_fields(fitted, panel, 0, Keep()))
    walker = Walker(PRESET, fitted, heads, fit_shapes(panel, fitted.tokenizer))
    each = -(-size.starts // len(panel))
    member = np.repeat(np.arange(len(panel)), each)[: size.starts]
    last = np.array([len(bars) for bars in panel])[member]
    back = np.tile(np.arange(1, each + 1), len(panel))[: size.starts]
    return PathSource(walker, panel, Origins(member, last - back))
