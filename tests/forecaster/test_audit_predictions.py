"""The audit of predictions files: honest ones pass, and each planted mistake is named."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from audited import LEVELS, NORMAL, QUANTILES, honest_file
from panels import garch_panel

from forecaster.audit.predictions import audit_predictions
from forecaster.bars import Panel
from forecaster.errors import DataError, StorageError
from forecaster.features import causal_scale, log_returns

PANEL = garch_panel(900, 2, seed=3)
FILE = honest_file(PANEL)
BOTH = pytest.mark.parametrize("bars", [None, PANEL], ids=["alone", "with bars"])
Change = Callable[[pd.DataFrame], pd.DataFrame]


def audited(
    tmp_path: Path, frame: pd.DataFrame, bars: Panel | None = None, against: Path | None = None
) -> dict[str, list[str]]:
    path = tmp_path / "theirs.parquet"
    frame.to_parquet(path)
    return audit_predictions(path, bars=bars, against=against)


def stages(record: dict[str, list[str]]) -> set[str]:
    return {leak.split(":")[0] for leak in record["leaks"]}


@BOTH
def test_an_honest_file_passes(tmp_path: Path, bars: Panel | None):
    record = audited(tmp_path, FILE, bars)
    assert record["leaks"] == []
    assert not [note for note in record["notes"] if note.startswith("fault")]


def test_the_skill_of_our_baselines_is_said(tmp_path: Path):
    notes = audited(tmp_path, FILE, PANEL)["notes"]
    assert any("pinball skill" in note and "dates" in note for note in notes)


def prices(frame: pd.DataFrame) -> pd.DataFrame:
    """The same forecasts as prices, as Nixtla's wide layout has them."""
    close = {str(b.symbol): pd.Series(b.close, index=b.opened_at) for b in PANEL}
    start = np.array([close[s][c] for s, c in zip(frame.unique_id, frame.cutoff, strict=True)])
    wide = frame[["unique_id", "ds", "cutoff"]].assign(y=start * np.exp(frame.y))
    wide["Theirs"] = start * np.exp(frame.predictions)
    for low, high, name in (("0.05", "0.95", 90), ("0.25", "0.75", 50)):
        wide[f"Theirs-lo-{name}"] = start * np.exp(frame[low])
        wide[f"Theirs-hi-{name}"] = start * np.exp(frame[high])
    return wide


@BOTH
def test_nixtlas_wide_prices_are_read(tmp_path: Path, bars: Panel | None):
    record = audited(tmp_path, prices(FILE), bars)
    assert record["leaks"] == []
    assert any("price" in note for note in record["notes"])


def test_chronos_names_are_read(tmp_path: Path):
    renamed = FILE.rename(columns={"unique_id": "item_id", "y": "target"}).drop(columns="h")
    assert audited(tmp_path, renamed.drop(columns="model"))["leaks"] == []


def ds_a_bar_early(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(ds=f.ds - np.timedelta64(1, "D"))


def ds_a_bar_late(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(ds=f.ds + np.timedelta64(1, "D"))


def cutoff_a_bar_early(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(cutoff=f.cutoff - np.timedelta64(1, "D"))


def outcome_leaked(f: pd.DataFrame) -> pd.DataFrame:
    every = np.arange(len(f)) % 50 == 0
    return f.assign(predictions=np.where(every, f.y, f.predictions))


def forecast_that_knows_a_third(f: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(0, f.y.std(), len(f))
    return f.assign(predictions=0.3 * f.y + 0.3 * noise)


def sign_known_in_two_of_three(f: pd.DataFrame) -> pd.DataFrame:
    right = np.random.default_rng(0).random(len(f)) < 0.66
    return f.assign(predictions=np.where(right, 1, -1) * np.sign(f.y) * 1e-3)


def centred_mean(f: pd.DataFrame) -> pd.DataFrame:
    mean = f.groupby("unique_id")["y"].transform(lambda y: y.rolling(5, center=True).mean())
    return f.assign(predictions=mean.fillna(0.0))


def mean_of_what_comes_afterwards(f: pd.DataFrame) -> pd.DataFrame:
    after = f.groupby("unique_id")["y"].transform(
        lambda y: y[::-1].rolling(4).mean()[::-1].shift(-1)
    )
    return f.assign(predictions=after.fillna(0.0))


def bands_of_the_realised_size(f: pd.DataFrame) -> pd.DataFrame:
    size = f.y.abs().to_numpy() + f.y.abs().mean() / 2
    return f.assign(**dict(zip(QUANTILES, (size[:, None] * NORMAL).T, strict=True)))


def bands_calibrated_on_the_outcomes(f: pd.DataFrame) -> pd.DataFrame:
    scale = f["0.95"] / NORMAL[-1]
    q = np.quantile(f.y / scale, LEVELS)
    return f.assign(**{n: scale * each for n, each in zip(QUANTILES, q, strict=True)})


def wild_days_left_out(f: pd.DataFrame) -> pd.DataFrame:
    calm = f[f.y.abs() < f.y.abs().quantile(0.95)]
    return pd.concat([f.assign(model="all"), calm])


LEAKS: dict[Change, str] = {
    ds_a_bar_early: "times",
    ds_a_bar_late: "times",
    cutoff_a_bar_early: "times",
    outcome_leaked: "forecasts",
    forecast_that_knows_a_third: "forecasts",
    sign_known_in_two_of_three: "forecasts",
    centred_mean: "forecasts",
    mean_of_what_comes_afterwards: "forecasts",
    bands_of_the_realised_size: "bands",
    bands_calibrated_on_the_outcomes: "bands",
    wild_days_left_out: "rows",
}


@pytest.mark.parametrize("plant", LEAKS, ids=lambda each: each.__name__)
def test_a_planted_leak_smells(tmp_path: Path, plant: Change):
    assert LEAKS[plant] in stages(audited(tmp_path, plant(FILE)))


def test_wild_days_left_out_by_the_only_model_show_against_the_bars(tmp_path: Path):
    calm = FILE[FILE.y.abs() < FILE.y.abs().quantile(0.95)]
    assert "rows" not in stages(audited(tmp_path, calm))
    assert "rows" in stages(audited(tmp_path, calm, PANEL))


@pytest.mark.parametrize("shift", [-1, 1])
def test_outcomes_of_another_bar_are_named(tmp_path: Path, shift: int):
    moved = FILE.assign(y=FILE.groupby("unique_id")["y"].shift(-shift)).dropna(subset="y")
    leaks = audited(tmp_path, moved, PANEL)["leaks"]
    word = "later" if shift > 0 else "earlier"
    assert any(leak.startswith("outcomes") and f"1 bars {word}" in leak for leak in leaks)


def test_skill_that_cannot_be_true_is_named(tmp_path: Path):
    near = {n: 0.4 * FILE.y + 0.8 * FILE[n] for n in QUANTILES}
    leaks = audited(tmp_path, FILE.assign(**near), PANEL)["leaks"]
    assert any(leak.startswith("skill") and "not plausible" in leak for leak in leaks)


def test_symbols_that_end_must_be_there(tmp_path: Path):
    ended = Panel((PANEL.members[0], PANEL.members[1].head(600)))
    survivors = FILE[FILE.unique_id == str(PANEL.symbols[0])]
    assert stages(audited(tmp_path, survivors, ended)) == {"symbols"}


def test_a_file_that_rewrites_an_earlier_one_is_named(tmp_path: Path):
    early = tmp_path / "early.parquet"
    old = FILE[FILE.cutoff < FILE.cutoff.max() - np.timedelta64(60, "D")]
    old.to_parquet(early)
    assert audited(tmp_path, FILE, against=early)["leaks"] == []
    day = old.cutoff.iloc[40]
    refitted = FILE.assign(predictions=np.where(FILE.cutoff >= day, 1.01, 1) * FILE.predictions)
    leaks = audited(tmp_path, refitted, against=early)["leaks"]
    assert [f"{day:%Y-%m-%d}" in leak for leak in leaks] == [True]
    gone = audited(tmp_path, FILE[FILE.cutoff > day], against=early)["leaks"]
    assert any("gone" in leak for leak in gone)


def crossed(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(**{"0.25": f["0.75"]})


def repeated(f: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([f, f.head(1)])


def unanswered(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(predictions=f.predictions.where(f.index != 7))


def uneven(f: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([f, f.iloc[3:].assign(model="other")])


def narrow(f: pd.DataFrame) -> pd.DataFrame:
    return f.assign(**{name: f[name] / 3 for name in QUANTILES})


FAULTS: dict[Change, str] = {
    crossed: "quantiles cross",
    repeated: "twice",
    unanswered: "missing",
    uneven: "3 of 1198 questions unanswered",
    narrow: "covers",
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda each: each.__name__)
def test_a_fault_is_said_and_is_no_leak(tmp_path: Path, plant: Change):
    record = audited(tmp_path, plant(FILE))
    assert record["leaks"] == []
    assert any(note.startswith("fault") and FAULTS[plant] in note for note in record["notes"])


def test_files_that_cannot_be_audited_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no column cutoff"):
        audited(tmp_path, FILE.drop(columns="cutoff"))
    with pytest.raises(DataError, match="no column of forecasts"):
        audited(tmp_path, FILE[["unique_id", "ds", "cutoff", "y"]])
    with pytest.raises(DataError, match="0 rows have an outcome"):
        audited(tmp_path, FILE.assign(y=np.nan))
    other = tmp_path / "no.parquet"
    other.write_text("text")
    with pytest.raises(StorageError, match=r"no\.parquet"):
        audit_predictions(other)


def test_the_honest_file_is_what_it_says():
    bars = PANEL.members[0]
    row = FILE.iloc[10]
    t = int(np.searchsorted(bars.opened_at, row.cutoff.to_datetime64()))
    r = log_returns(bars)
    assert row.y == r[t + 1]
    assert row["0.95"] == pytest.approx(NORMAL[-1] * causal_scale(r**2)[t])
