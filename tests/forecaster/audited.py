"""A small run to audit, and a small honest predictions file."""

from dataclasses import replace

import numpy as np
import pandas as pd
from panels import garch_panel

from forecaster import backtest, workflows
from forecaster.audit.emitted import Finding
from forecaster.audit.laws import Law, tried
from forecaster.audit.poison import PRICES
from forecaster.audit.run import Effort, laws_of
from forecaster.audit.subject import Subject, reduced
from forecaster.bars import Panel
from forecaster.config import LearnerConfig, RunConfig
from forecaster.features import causal_scale, log_returns

TINY = LearnerConfig(
    tokens="scaled",
    context=16,
    d_model=16,
    n_layers=1,
    n_heads=2,
    batch=4,
    skip=2,
    return_bins=12,
    field_bins=4,
)
CONFIG = RunConfig(
    symbols=("GARCH-0", "GARCH-1", "GARCH-2"),
    horizons=(1, 3),
    test_from="2001-07-16",  # bar 560
    refit_every=60,
    baselines=("ewma_gaussian", "ewma_student_t", "harx"),
    learner=TINY,
)


def stored() -> Panel:
    """Three symbols as printed: a dividend every 63 bars, a split of two for one at bar 590.

    Volumes are unknown here and there, one symbol ends early.
    """
    members = []
    for i, bars in enumerate(garch_panel(680, 3)):
        t = np.arange(len(bars))
        factor = np.where(t < 590, 0.5, 1.0) * 0.99 ** (-(t + 21 * i) // 63 + 12)
        volume = bars.volume * factor
        volume[np.random.default_rng(i).random(len(volume)) < 0.1] = np.nan
        prices = {name: getattr(bars, name) / factor for name in PRICES}
        members.append(replace(bars, **prices, volume=volume, adjustment=factor))
    members[2] = members[2].head(640)
    return Panel(tuple(members))


def market() -> Panel:
    """The same, adjusted."""
    return stored().adjusted()


def reading(together: int | None) -> RunConfig:
    """CONFIG with networks that read so many symbols together, or each alone."""
    learner = TINY.model_copy(update={"panel": together})
    return CONFIG.model_copy(update={"learner": learner})


def subject(config: RunConfig = CONFIG) -> Subject:
    """Planned and reduced anew: whatever is patched is seen."""
    models = workflows.forecasters(config)
    return reduced(backtest.plan(config, market(), models, "audited"), stored())[0]


def laws(audited: Subject, examples: int) -> list[Law]:
    """All of them, the placebos on one market each; what they say is not heard."""
    return laws_of(audited, Effort(examples), lambda _: None)


def first_leak(examples: int = 11, config: RunConfig = CONFIG) -> tuple[str, Finding] | None:
    """The stage that the audit names first, and what it says; the placebos are left out."""
    audited = subject(config)
    for law in laws(audited, examples):
        if not law.stage.startswith("placebo"):
            found = tried(law, audited).finding
            if found is not None:
                return law.stage, found
    return None


LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
NORMAL = np.array([-1.6449, -0.6745, 0.0, 0.6745, 1.6449])
QUANTILES = [str(level) for level in LEVELS]


def honest_file(panel: Panel, first: int = 300) -> pd.DataFrame:
    """One bar ahead, EWMA normal quantiles, a little momentum as the point forecast."""
    blocks = []
    for bars in panel:
        r = log_returns(bars)
        at = np.arange(first, len(bars) - 1)
        scale = causal_scale(r**2)[at]
        block = pd.DataFrame(
            {
                "unique_id": str(bars.symbol),
                "cutoff": bars.opened_at[at],
                "ds": bars.opened_at[at + 1],
                "h": 1,
                "y": r[at + 1],
                "model": "theirs",
                "predictions": 0.05 * r[at],
            }
        )
        block[QUANTILES] = scale[:, None] * NORMAL
        blocks.append(block)
    return pd.concat(blocks, ignore_index=True)
