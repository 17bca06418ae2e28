"""The audit's laws of the future as Hypothesis has it: any cut, any future, any seed, every stage.

`test_laws.py` holds the same of whole cells under one kind of rewriting; the mistakes that these
laws must catch are planted in `leaks.py`.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from audited import CONFIG, first_leak, market, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster import backtest, workflows
from forecaster.audit.bar_stages import each_member, of_adjusted, of_features, of_targets, of_tokens
from forecaster.audit.emitted import Emitted, first_difference
from forecaster.audit.fold_stages import of_folds
from forecaster.audit.model_stages import answers_at
from forecaster.audit.network_stages import questions, training_batches
from forecaster.audit.poison import FUTURES, poisoned, restored
from forecaster.audit.run_stages import of_cells
from forecaster.audit.subject import Subject, reduced
from forecaster.bars import Panel
from forecaster.baselines.naive import RandomWalk, WindowVolatility
from forecaster.econometrics.harx import Harx
from forecaster.protocol import Origins

Account = Callable[[Subject, Panel], list[Emitted]]
STAGES: dict[str, Account] = {
    "features": partial(each_member, of_features),
    "tokens": partial(each_member, of_tokens),
    "targets": partial(each_member, of_targets),
    "folds": of_folds,
    "network inputs": questions,
}
TEST_BARS = 40  # bars of the audited fold
futures = st.sampled_from(FUTURES)
seeds = st.integers(0, 2**16)


def quick(examples: int) -> settings:
    return settings(derandomize=True, database=None, deadline=None, max_examples=examples)


def cuts(first: int, last: int) -> st.SearchStrategy[int]:
    """Bars of the clock, half of them about the first origin of the fold."""
    return st.one_of(st.integers(first, last), st.integers(598, 604).filter(lambda t: t >= first))


@pytest.fixture(scope="module")
def whole() -> Subject:
    """Every baseline that there is, and a learner; two cells' worth of models for the tables."""
    config = CONFIG.model_copy(update={"baselines": ("all",)})
    models = workflows.forecasters(config)
    subject = reduced(backtest.plan(config, market(), models, "laws"), stored())[0]
    vars(subject)["through_cells"] = (RandomWalk(), WindowVolatility(20))
    assert int(np.searchsorted(subject.panel.clock, subject.fold.test_from)) in range(560, 625)
    return subject


@pytest.fixture(scope="module")
def accounts(whole: Subject) -> dict[str, list[Emitted]]:
    """What each stage says of the true bars."""
    return {name: account(whole, whole.panel) for name, account in STAGES.items()}


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_knows_the_future(stage: str, whole: Subject, accounts: dict[str, list[Emitted]]):
    @quick(15)
    @given(cut=cuts(260, len(whole.panel.clock) - 1), kind=futures, seed=seeds)
    def law(cut: int, kind: str, seed: int) -> None:
        moment = whole.panel.clock[cut]
        after = STAGES[stage](whole, poisoned(whole.panel, moment, kind, seed))
        assert first_difference(accounts[stage], after, moment) is None

    law()


def test_adjustment_knows_no_future_but_a_constant(whole: Subject):
    account = partial(each_member, of_adjusted)
    before = account(whole, whole.stored)

    @quick(15)
    @given(cut=cuts(1, 678), kind=futures, seed=seeds)
    def law(cut: int, kind: str, seed: int) -> None:
        moment = whole.panel.clock[cut]
        after = account(whole, restored(whole.stored, moment, kind, seed))
        assert first_difference(before, after, moment) is None  # exact: powers of two

    law()


def test_no_training_batch_knows_the_future(whole: Subject):
    before = training_batches(whole, whole.panel)

    @quick(6)
    @given(kind=futures, seed=seeds)
    def law(kind: str, seed: int) -> None:
        moment = whole.fold.train_until
        after = training_batches(whole, poisoned(whole.panel, moment, kind, seed))
        assert first_difference(before, after, moment) is None

    law()


NAMES = [
    each.name for each in workflows.forecasters(CONFIG.model_copy(update={"baselines": ("all",)}))
]


@pytest.mark.parametrize("name", NAMES)
def test_no_forecast_knows_the_future(name: str, whole: Subject):
    before = answers_at(name, whole, whole.panel)
    clock = whole.panel.clock
    first = int(np.searchsorted(clock, whole.fold.test_from))

    @quick(5)
    @given(ahead=st.integers(0, TEST_BARS - 2), kind=futures, seed=seeds)
    def law(ahead: int, kind: str, seed: int) -> None:
        moment = clock[first + ahead]
        after = answers_at(name, whole, poisoned(whole.panel, moment, kind, seed))
        assert first_difference(before, after, moment) is None

    law()


@pytest.mark.parametrize("name", NAMES)
def test_no_forecast_depends_on_who_else_is_asked(name: str, whole: Subject):
    fitted, asked = whole.fitted(name), whole.origins
    every = fitted.forecast(whole.past, asked, whole.horizons).quantile([0.05, 0.5])

    @quick(4)
    @given(st.lists(st.integers(0, len(asked) - 1), min_size=1, max_size=9, unique=True))
    def law(rows: list[int]) -> None:
        some = Origins(asked.member[rows], asked.bar[rows])
        told = fitted.forecast(whole.past, some, whole.horizons).quantile([0.05, 0.5])
        assert told.tobytes() == every[rows].tobytes()

    law()


def test_no_score_knows_the_future(whole: Subject):
    before = of_cells(whole, whole.panel)
    first = int(np.searchsorted(whole.panel.clock, whole.fold.test_from))

    @quick(8)
    @given(ahead=st.integers(0, TEST_BARS - 2), kind=futures, seed=seeds)
    def law(ahead: int, kind: str, seed: int) -> None:
        moment = whole.panel.clock[first + ahead]
        after = of_cells(whole, poisoned(whole.panel, moment, kind, seed))
        assert first_difference(before, after, moment) is None

    law()


def earlier_rows(panel: Panel, models: tuple[str, ...]) -> tuple[list[backtest.Cell], pa.Table]:
    """The cells of a run and its predictions, without what later bars may tell: run, truth, ds."""
    config = CONFIG.model_copy(update={"baselines": models, "presets": ("llama",)})
    learner = config.learner.model_copy(update={"steps": 2, "seeds": 1})
    config = config.model_copy(update={"learner": learner})
    plan = backtest.plan(config, panel, workflows.forecasters(config), "append")
    cells = [backtest.run_cell(panel, plan.config.horizons, "x", cell) for cell in plan.cells]
    table = pa.concat_tables([cell.predictions.drop_columns(["y", "ds"]) for cell in cells])
    keys = ("model", "unique_id", "cutoff", "h")
    return plan.cells, table.sort_by([(name, "ascending") for name in keys])


def test_sixty_more_bars_leave_earlier_predictions_and_folds_as_they_are():
    """Byte for byte but for the run's name, and outcomes and labels that were still to come."""
    longer = market()
    shorter = longer.until(longer.clock[-61])
    models = ("ewma_student_t", "harx")
    (cells, short), (more, long) = (earlier_rows(each, models) for each in (shorter, longer))
    borders = {cell.fold.index: cell.fold for cell in more}
    for cell in cells:
        now = borders[cell.fold.index]
        assert replace(now, test_until=cell.fold.test_until) == cell.fold
    early = long.filter(pa.array(np.isin(long["cutoff"].to_numpy(), short["cutoff"].to_numpy())))
    assert len(early) == len(short) > 0
    assert early.equals(short)


@pytest.mark.slow
def test_rows_that_depend_on_their_number_are_caught(monkeypatch: pytest.MonkeyPatch):
    """The real one that the audit found: a product whose bits depend on how many bars there are."""

    def scale(self: Harx, symbol: str, x: np.ndarray) -> np.ndarray:
        which = self.symbols.index(symbol)
        z = np.nan_to_num(np.clip((x - self.mean) / self.deviation, -6, 6))
        wide = np.float32(len(x) % 2 * 1e-7) + z  # as a kernel that rounds by the shape would
        return np.exp(self.intercept[which] + wide @ self.slope[which])

    monkeypatch.setattr(Harx, "scale", scale)
    found = first_leak()
    assert found is not None
    assert found[0] == "forecast: harx"
