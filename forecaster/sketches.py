"""A few candle paths of a learner, drawn inside a backtest as `forecaster predict --paths` does.

From the first origin of a fold of each symbol: a rule, so that nobody picks. A file
`folds/CELL.paths.parquet` of a learner's cell of the last fold; forecasts and scores know nothing
of it.
"""

from dataclasses import dataclass, replace

import numpy as np

from forecaster import scores
from forecaster.bars import Panel
from forecaster.errors import UsageError
from forecaster.folds import Fold
from forecaster.frames import Provenance
from forecaster.learner import FittedLearner, Keep, fit_fields, require_paths, same_generator
from forecaster.path_source import PathSource, Walk, Walker
from forecaster.paths.shapes import fit_shapes
from forecaster.paths.table import block_table, parquet_chunks
from forecaster.pooled import Accompanied
from forecaster.protocol import Networked, Origins

PATHS = 8  # an origin
NETWORKS = 4  # that paths follow in turn, the first ones: heads for whole bars cost their training
SYMBOLS = 6  # the first ones by name that have an origin


@dataclass(frozen=True, eq=False)
class Scene:
    """What is drawn: from where, how far, in whose name."""

    panel: Panel
    fold: Fold
    horizons: tuple[int, ...]
    model: str
    run_id: str
    seed: int


def sketch(fitted: Networked, scene: Scene) -> bytes:
    """A parquet file of paths.table.SAMPLES in the panel's prices, as far as the longest horizon.

    Raises UsageError, with the reason, for a learner that cannot draw whole bars, DivergedError.
    """
    learner = fitted.learner if isinstance(fitted, Accompanied) else fitted
    if not isinstance(learner, FittedLearner):
        raise UsageError(f"{type(learner).__name__} draws no candles")
    require_paths(learner)
    panel = scene.panel
    # A symbol that begins later has taught nothing.
    history = Panel(tuple(bars for bars in scene.fold.history(panel) if len(bars)))
    origins = starts(panel, scene.fold.origins(panel))
    followed = replace(learner, networks=learner.networks[:NETWORKS])
    with same_generator():
        heads = tuple(each.heads for each in fit_fields(followed, history, scene.seed, Keep()))
    walker = Walker(scene.model, learner, heads, fit_shapes(history, learner.tokenizer))
    walk = Walk(PATHS, max(scene.horizons), scene.seed)
    source = PathSource(walker, known(panel, origins), _last(origins))
    keys = scores.question(panel, origins, range(1, walk.steps + 1))
    about = Provenance(scene.run_id, scene.fold.index, panel.interval)
    factor = np.ones(len(origins))
    tables = (block_table(block, keys, factor, about) for block in source.from_learner(walk))
    record = {"paths": PATHS, "steps": walk.steps, "seed": walk.seed, "networks": len(heads)}
    return b"".join(parquet_chunks(tables, record))


def starts(panel: Panel, origins: Origins) -> Origins:
    """The first origin of each symbol, of the first SYMBOLS by name."""
    member, first = np.unique(origins.member, return_index=True)
    names = np.array([str(panel.symbols[m]) for m in member])
    chosen = first[np.argsort(names, kind="stable")][:SYMBOLS]
    return Origins(origins.member[chosen], origins.bar[chosen])


def known(panel: Panel, origins: Origins) -> Panel:
    """Each origin's symbol up to the origin, and nothing else."""
    where = zip(origins.member.tolist(), origins.bar.tolist(), strict=True)
    return Panel(tuple(panel.members[m].head(t + 1) for m, t in where))


def _last(origins: Origins) -> Origins:
    """The same moments in the panel of what was known."""
    return Origins(np.arange(len(origins), dtype=np.int64), origins.bar)
