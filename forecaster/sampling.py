"""Sampled paths of candles from a training, as a file. Source of the paths: `path_source`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from forecaster import atomic, scores, training
from forecaster.bars import Floats, Panel
from forecaster.errors import CheckpointError
from forecaster.frames import Provenance
from forecaster.learner import load_fields, require_paths
from forecaster.path_source import PathSource, Walk, Walker
from forecaster.paths.shapes import BarShapes
from forecaster.paths.table import block_table, parquet_chunks
from forecaster.protocol import Origins
from forecaster.runs import RunFolder


@dataclass(frozen=True, eq=False)
class Shown:
    """How sampled bars are written, and who is told of them."""

    factor: Floats  # [origins] makes printed prices of adjusted ones
    provenance: Provenance
    on_bars: Callable[[int], None]


def load_walker(run: RunFolder) -> Walker:
    """Raises CheckpointError where the run has not kept what paths need."""
    fitted = training.load(run)
    require_paths(fitted)
    place = run.path / training.SHAPES
    try:
        shapes = training.read_kept(run, training.SHAPES, BarShapes)
    except CheckpointError:
        raise CheckpointError(
            f"{place} is missing or damaged: paths need it; train anew with: forecaster train"
        ) from None
    heads = load_fields(fitted, run.path / training.SEEDS)
    return Walker(run.config().presets[0], fitted, heads, shapes)


def keep_samples(path: Path, source: PathSource, walk: Walk, shown: Shown) -> dict[str, Any]:
    """Sample both models and write the file as they come; what the command says of it."""
    keys = scores.question(source.panel, source.origins, range(1, walk.steps + 1))

    def tables() -> Iterator[pa.Table]:
        for _, blocks_of in models:
            for block in blocks_of(walk):
                yield block_table(block, keys, shown.factor, shown.provenance)
                shown.on_bars(len(block.path) * walk.steps)

    models = sorted(
        [(source.fitted.tokenizer.prior.law, source.from_prior), (source.name, source.from_learner)]
    )
    record = {
        "models": [name for name, _ in models],
        "paths": walk.paths,
        "steps": walk.steps,
        "seed": walk.seed,
    }
    atomic.commit_chunks(path, parquet_chunks(tables(), record))
    return {"file": str(path), **record}


def last_origins(panel: Panel) -> Origins:
    """The last bar of each member, in the order of their names."""
    member = np.argsort(np.array(panel.symbols), kind="stable")
    return Origins(member, np.array([len(panel.members[m]) - 1 for m in member]))
