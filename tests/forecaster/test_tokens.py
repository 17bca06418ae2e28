"""The tokeniser: frozen, round-tripping, fitted on its history alone."""

import numpy as np
import pytest
from panels import garch_panel, rewritten_after, walk_panel

from forecaster.bars import Panel
from forecaster.config import LearnerConfig
from forecaster.distributions import SkewT
from forecaster.errors import DataError
from forecaster.features import features
from forecaster.tokens import WIDEST, BarTokenizer, Kind, fit_tokenizer, smooth_basis

KINDS: list[Kind] = ["prior", "scaled", "uniform", "levels"]


def fitted(panel: Panel, kind: Kind = "scaled") -> BarTokenizer:
    config = LearnerConfig(tokens=kind, return_bins=32, variance_tokens=kind != "levels")
    return fit_tokenizer(panel, (1, 5), config)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_after_json(kind: Kind):
    tokenizer = fitted(walk_panel(), kind)
    assert BarTokenizer.model_validate_json(tokenizer.model_dump_json()) == tokenizer


def test_bars_after_the_history_do_not_move_it():
    panel = walk_panel()
    moment = panel.clock[600]
    other = rewritten_after(panel, moment)
    assert fitted(panel.until(moment)).digest == fitted(other.until(moment)).digest
    assert fitted(panel.until(moment)).fitted_until == str(moment)
    assert fitted(panel).digest != fitted(other).digest  # the law can fail


def test_a_value_comes_back_within_half_a_bin():
    panel = walk_panel()
    tokenizer = fitted(panel)
    known = features(panel.members[0])
    ids = tokenizer.encode(known)
    back = tokenizer.decode(ids)
    for f, edges in enumerate(tokenizer.field_edges):
        x, k = known.geometry[:, f], ids[:, f]
        inner = (k > 0) & (k < len(edges)) & (k != tokenizer.missing)
        widths = np.diff(edges)[k[inner] - 1]
        assert (np.abs(back[inner, f] - x[inner]) <= widths / 2 * (1 + 1e-9)).all()
        assert np.isnan(back[k == tokenizer.missing, f]).all()


def test_encoding_a_decoded_bar_gives_its_ids_again():
    panel = walk_panel()
    tokenizer = fitted(panel)
    known = features(panel.members[0])
    ids = tokenizer.encode(known)
    again = known.__class__(known.scale, known.log_return, tokenizer.decode(ids), known.inputs)
    assert (tokenizer.encode(again) == ids).all()


def test_an_edge_belongs_to_the_bin_above_it():
    tokenizer = fitted(walk_panel())
    edge = tokenizer.field_edges[0][3]
    known = features(walk_panel().members[0])
    known.geometry[5, 0] = edge
    assert tokenizer.encode(known)[5, 0] == 4


def test_ties_leave_edges_unique():
    panel = walk_panel()
    for edges in fitted(panel).field_edges:
        assert (np.diff(edges) > 0).all()


def test_scaled_bins_have_equal_mass_and_uniform_ones_equal_width():
    panel = garch_panel()
    np.testing.assert_allclose(fitted(panel).bin_masses(), 1 / 32, rtol=1e-9)
    edges = np.array(fitted(panel, "uniform").return_edges)
    np.testing.assert_allclose(np.diff(edges), 2 * WIDEST / 30)
    np.testing.assert_allclose(fitted(panel, "uniform").bin_masses().sum(axis=1), 1)


def test_prior_bins_are_finer_towards_the_tails_and_their_masses_are_the_priors():
    tokenizer = fitted(garch_panel(), "prior")
    w = tokenizer.bin_masses()
    np.testing.assert_allclose(w.sum(axis=1), 1)
    assert (np.diff(w[0][:16]) > 0).all()
    assert (np.diff(w[0][16:]) < 0).all()


def test_a_prior_scale_is_of_its_symbol_and_of_the_bars_so_far():
    panel = garch_panel()
    tokenizer = fitted(panel, "prior")
    bars = panel.members[0]
    scales = tokenizer.scales(bars, features(bars))
    other = rewritten_after(panel, bars.closed_at[300]).members[0]
    assert scales[:301].tobytes() == tokenizer.scales(other, features(other))[:301].tobytes()
    assert scales[400:].tobytes() != tokenizer.scales(other, features(other))[400:].tobytes()
    assert np.isfinite(scales[67:]).all()


def test_smooth_functions_are_orthonormal_under_the_masses_and_to_the_constant():
    tokenizer = fitted(garch_panel(), "prior")
    base, edges = tokenizer.prior.base(), np.array(tokenizer.return_edges)
    basis, w = smooth_basis(base, edges, 7), tokenizer.bin_masses()
    for h in range(2):
        gram = np.einsum("k,kr,ks->rs", w[h], basis[h], basis[h])
        np.testing.assert_allclose(gram, np.eye(7), atol=1e-9)
        np.testing.assert_allclose(w[h] @ basis[h], 0, atol=1e-9)


def test_the_first_smooth_function_is_the_average_score_of_location():
    """By quadrature inside each bin: -f0' / f0 averaged under f0, up to one factor."""
    tokenizer = fitted(garch_panel(), "prior")
    base, edges = tokenizer.prior.base(), np.array(tokenizer.return_edges)
    assert isinstance(base, SkewT)
    first = smooth_basis(base, edges, 1)[0, :, 0]
    x, weights = np.polynomial.legendre.leggauss(40)
    ratios = []
    for k in (5, 12, 28):
        low, high = edges[0, k - 1], edges[0, k]
        z = ((low + high) / 2 + (high - low) / 2 * x)[:, None].repeat(2, axis=1)
        f, score = np.exp(base.logpdf(z)[:, 0]), -base.slope(z)[:, 0]
        ratios.append(first[k] * (weights * f).sum() / (weights * f * score).sum())
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-6)


def test_targets_that_have_not_ended_have_no_token():
    panel = walk_panel()
    bars = panel.members[0]
    tokens = fitted(panel).encode_returns(bars, features(bars))
    assert (tokens[-1:, 0] == -1).all()
    assert (tokens[-5:, 1] == -1).all()
    assert (tokens[1:-5] >= 0).all()


def test_inputs_are_standardised_and_known():
    panel = walk_panel()
    tokenizer = fitted(panel, "prior")
    x = np.concatenate([tokenizer.inputs(bars, features(bars))[66:] for bars in panel])
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert np.abs(x.mean(axis=0)).max() < 0.1
    assert np.abs(x).max() <= 5


def test_too_few_bars_are_refused_with_the_numbers():
    with pytest.raises(
        DataError, match="WALK-0: 34 bars after the first 66 of each, needs at least 64"
    ):
        fitted(walk_panel(100, 1))
