"""Config: precedence, and every refusal with its key and value."""

from pathlib import Path

import pytest

from forecaster.config import DEFAULT_UNIVERSE, RunConfig, resolve
from forecaster.errors import UsageError
from forecaster.sources import DEFAULT_UNIVERSE as FETCHED_BY_DEFAULT


def test_flags_over_set_over_toml_over_quick_over_defaults(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text("horizons = [2]\nseed = 5\n[learner]\nsteps = 7\nseeds = 3\nbatch = 2\n")
    config = resolve(
        file, ["learner.seeds=9", "learner.tokens=uniform"], {"seed": 6, "presets": ()}, quick=True
    )
    assert (config.horizons, config.seed) == ((2,), 6)
    learner = config.learner
    assert (learner.steps, learner.seeds, learner.batch, learner.tokens) == (7, 9, 2, "uniform")
    assert config.symbols == ("^GSPC", "^IXIC")
    assert config.presets == ("llama",)


def test_the_default_universe_is_what_fetch_brings():
    assert RunConfig().symbols == DEFAULT_UNIVERSE == tuple(FETCHED_BY_DEFAULT)


def test_it_is_the_same_after_json_and_has_its_own_digest():
    config = RunConfig(seed=3)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert config.digest != RunConfig().digest


def test_a_day_may_be_written_as_toml_or_as_text(tmp_path: Path):
    file = tmp_path / "run.toml"
    file.write_text("test_from = 2011-02-03\n")
    config = resolve(file, ["test_until=2012-01-31"], {})
    assert (config.test_from, config.test_until) == ("2011-02-03", "2012-01-31")
    assert resolve(None, [], {"test_from": "2011-02-03"}).test_from == "2011-02-03"


def test_horizons_are_sorted_and_symbols_unique():
    config = RunConfig(horizons=(20, 1, 20), symbols=("AAPL", "IBM", "AAPL"))
    assert (config.horizons, config.symbols) == ((1, 20), ("AAPL", "IBM"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["learner.stepz=5"], r"config key 'learner.stepz' is unknown; did you mean 'steps'\?"),
        (["sed=5"], r"config key 'sed' is unknown; did you mean 'seed'\?"),
        (["learner.steps=0"], "config learner.steps=0: input should be greater than 0"),
        (["learner.d_model=30"], "config learner: d_model=30 is not a multiple of n_heads=4"),
        (["learner.skip=64"], "config learner: skip=64 leaves nothing of context=64"),
        (["horizons=[]"], r"config horizons=\[\]: tuple should have at least 1 item"),
        (["horizons=[0]"], "config horizons.0=0: input should be greater than 0"),
        (["test_from=soon"], "config test_from: 'soon' is not a day; wanted YYYY-MM-DD"),
        (["symbols=[]"], "config symbols: no symbols given"),
        (["nonsense"], "--set 'nonsense': wanted key=value"),
        (["a..b=1"], "--set 'a..b=1': wanted key=value"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(settings: list[str], text: str):
    with pytest.raises(UsageError, match=text):
        resolve(None, settings, {})


def test_a_hostile_symbol_is_refused():
    with pytest.raises(UsageError, match=r"symbol '\.\./x'"):
        resolve(None, [], {"symbols": ("../x",)})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path):
    file = tmp_path / "run.toml"
    with pytest.raises(UsageError, match=r"run.toml: No such file"):
        resolve(file, [], {})
    file.write_text("= 3")
    with pytest.raises(UsageError, match="not TOML"):
        resolve(file, [], {})
