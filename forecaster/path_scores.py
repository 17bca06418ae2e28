"""Are sampled paths worth having: against the density of each horizon, and the prior's paths.

Estimators are fair: a sample is scored as the law that it is drawn from, whatever its size. No log
score is made of samples: what a kernel costs there is more than what models differ by.
N origins, M paths, K bars, H horizons, D dates.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scoringrules import crps_ensemble, es_ensemble

from forecaster import scores
from forecaster.bars import Floats, Panel, Times
from forecaster.errors import DataError
from forecaster.folds import FEWEST_PAST
from forecaster.inference import date_means, diebold_mariano
from forecaster.path_source import PathSource, Walk, Walker
from forecaster.protocol import Origins

CHUNK = 128  # origins whose paths are held at once
BAND = (0.05, 0.95)


@dataclass(frozen=True)
class Stretch:
    """Origins that closed after `since` and not after `until`, every so many bars of the clock."""

    since: np.datetime64
    until: np.datetime64
    every: int

    def origins(self, panel: Panel, steps: int, context: int) -> Origins:
        """Bars with the past that a backtest asks for, a context of the learner at least, and
        `steps` bars after them. Raises DataError where there are none.

        Symbols are asked on the same dates.
        """
        clock = panel.clock
        chosen = clock[(clock > self.since) & (clock <= self.until)][:: self.every]
        at = [np.flatnonzero(np.isin(bars.closed_at, chosen)) for bars in panel]
        fewest = max(FEWEST_PAST, context)
        at = [t[(t >= fewest) & (t + steps < len(b))] for t, b in zip(at, panel, strict=True)]
        member = np.repeat(np.arange(len(at)), [len(t) for t in at])
        if not len(member):
            raise DataError(
                f"no bar from {self.since} to {self.until} has {fewest} bars before it and"
                f" {steps} after: paths are scored on bars that the training has not seen; train"
                " with --until"
            )
        return Origins(member, np.concatenate(at))


@dataclass(frozen=True, eq=False)
class PathLosses:
    """Losses of one model's paths, one row an origin."""

    crps: Floats  # [N, H] of the return to each horizon
    energy: Floats  # [N] of all K returns together
    inside: Floats  # [N, H] whether the outcome fell into BAND


def losses(close: Floats, y: Floats, horizons: tuple[int, ...]) -> PathLosses:
    """Log closes of paths [N, M, K] over the origin's, and of the bars that came [N, K]."""
    at = np.array(horizons) - 1
    sample = close[:, :, at].swapaxes(1, 2)  # [N, H, M]
    low, high = np.quantile(sample, BAND, axis=-1, method="weibull")
    crps = crps_ensemble(y[:, at], sample, estimator="fair", backend="numpy")
    # One origin at a time: all pairs of paths are held at once.
    pairs = zip(y, close, strict=True)
    energy = [es_ensemble(truth, own, estimator="fair", backend="numpy") for truth, own in pairs]
    return PathLosses(
        crps=np.asarray(crps),
        energy=np.array(energy, dtype=np.float64),
        inside=((y[:, at] >= low) & (y[:, at] <= high)).astype(np.float64),
    )


def joined(parts: list[PathLosses]) -> PathLosses:
    """Rows of all parts."""
    names = ("crps", "energy", "inside")
    return PathLosses(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def path_losses(
    walker: Walker, panel: Panel, origins: Origins, walk: Walk, on_bars: Callable[[int], None]
) -> tuple[Floats, dict[str, PathLosses]]:
    """(CRPS [N, H] of the learner's own density, losses of each model's paths)."""
    tokenizer, direct = walker.fitted.tokenizer, []
    horizons, prior = tokenizer.horizons, tokenizer.prior.law
    found: dict[str, list[PathLosses]] = {walker.name: [], prior: []}
    for first in range(0, len(origins), CHUNK):
        rows = slice(first, first + CHUNK)
        some = Origins(origins.member[rows], origins.bar[rows])
        source = PathSource(walker, panel, some)
        direct.append(source.density.crps(scores.truth(panel, some, horizons)[0]))
        y = scores.truth(panel, some, range(1, walk.steps + 1))[0]
        pairs = zip(some.member, some.bar, strict=True)
        start = np.array([panel.members[m].close[t] for m, t in pairs])
        for name, way in ((walker.name, source.from_learner), (prior, source.from_prior)):
            close = np.empty((len(some), walk.paths, walk.steps))
            for block in way(walk):
                relative = block.candles[..., 3] / start[block.origin, None]
                close[block.origin, block.path] = np.log(relative)
                on_bars(relative.size)
            found[name].append(losses(close, y, horizons))
    return np.concatenate(direct), {name: joined(parts) for name, parts in found.items()}


def score_paths(
    walker: Walker,
    panel: Panel,
    stretch: Stretch,
    walk: Walk,
    on_bars: Callable[[int, int], None],
) -> dict[str, Any]:
    """What the command prints; `on_bars` is told of bars that were sampled, and of how many.

    Differences are averaged over symbols per date, then tested (Diebold and Mariano) for overlap of
    h bars. Raises DataError for too few dates.
    """
    horizons, prior = walker.fitted.tokenizer.horizons, walker.fitted.tokenizer.prior.law
    origins = stretch.origins(panel, walk.steps, walker.fitted.config.context)
    bars = 2 * len(origins) * walk.paths * walk.steps
    direct, found = path_losses(walker, panel, origins, walk, lambda n: on_bars(n, bars))
    closes = scores.question(panel, origins, horizons[:1]).cutoff
    learner, other = found[walker.name], found[prior]

    def against(a: Floats, b: Floats, h: int) -> dict[str, float]:
        return compared(closes, a, b, math.ceil(h / stretch.every))

    rows = [
        {
            "h": h,
            "density": float(direct[:, j].mean()),
            "paths_over_density": against(learner.crps[:, j], direct[:, j], h),
            "learner_over_prior": against(learner.crps[:, j], other.crps[:, j], h),
            "inside_90": {name: float(each.inside[:, j].mean()) for name, each in found.items()},
        }
        for j, h in enumerate(horizons)
    ]
    return {
        "model": walker.name,
        "prior": prior,
        "paths": walk.paths,
        "steps": walk.steps,
        "seed": walk.seed,
        "every": stretch.every,
        "origins": len(origins),
        "dates": len(np.unique(closes)),
        "first": str(closes.min())[:10],
        "last": str(closes.max())[:10],
        "crps": rows,
        "energy": against(learner.energy, other.energy, walk.steps),
    }


def compared(labels: Times, a: Floats, b: Floats, h: int) -> dict[str, float]:
    """Losses [N] with the label of each row -> mean of b, percent that a is more, t and p."""
    ours, theirs = date_means(labels, a, b)
    mean, statistic, p = diebold_mariano(ours, theirs, h)
    rival = float(theirs.mean())
    return {"rival": rival, "percent": 100 * mean / rival, "t": statistic, "p": p}
