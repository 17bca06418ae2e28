"""The laws and recursions of arch with exact gradients, so that a search needs no differences.

Values are arch's to 1e-8 (a test). `z` are residuals over their deviation, `h` log variances, n of
each; a derivative by h or by a residual is taken through the whole recursion backwards, which is
one linear recurrence a gradient instead of one recursion a parameter.

Source: Hansen (IER 1994), eq. 10-13; Fiorentini, Sentana and Calzolari, Maximum Likelihood
Estimation and Inference in Multivariate Conditionally Heteroscedastic Dynamic Regression Models
with Student t Innovations (JBES 2003), for gradients of such likelihoods.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.linalg import lapack
from scipy.signal import lfilter
from scipy.special import digamma, gammaln

from forecaster.bars import Floats

CENTRE = math.sqrt(2 / math.pi)
LARGEST_SKEW = 1 - 1e-6  # as arch: at one, half of the law has no width
# (shape parameters, z) -> sum of ln g, d ln g / dz [n], the sum's derivatives by the parameters
Law = Callable[[Floats, Floats], tuple[float, Floats, Floats]]
# (parameters, residuals, variances, first variance or its log, derivative by h [n])
# -> derivatives by the parameters, and by each residual through the variances after it [n]
Backwards = Callable[[Floats, Floats, Floats, float, Floats], tuple[Floats, Floats]]


def student_t(shape: Floats, z: Floats) -> tuple[float, Floats, Floats]:
    """Student's t of variance one; shape is (df)."""
    df = float(shape[0])
    squares = z * z
    inside = df - 2 + squares
    tail = float(np.log(inside).sum()) - len(z) * math.log(df - 2)
    constant, by_df = _constant(df)
    slope = -(df + 1) * z / inside
    push = 0.5 * (df + 1) / (df - 2) * float((squares / inside).sum())
    total = len(z) * constant - 0.5 * (df + 1) * tail
    return total, slope, np.array([len(z) * by_df - 0.5 * tail + push])


def skewed_t(shape: Floats, z: Floats) -> tuple[float, Floats, Floats]:
    """Hansen's skewed t of mean zero and variance one; shape is (df, skew)."""
    df, skew = float(shape[0]), float(np.clip(shape[1], -LARGEST_SKEW, LARGEST_SKEW))
    constant, by_df = _constant(df)
    a_by_skew = 4 * math.exp(constant) * (df - 2) / (df - 1)
    a = a_by_skew * skew
    a_by_df = a * (by_df + 1 / (df - 2) - 1 / (df - 1))
    b = math.sqrt(1 + 3 * skew**2 - a**2)
    b_by_skew, b_by_df = (3 * skew - a * a_by_skew) / b, -a * a_by_df / b
    moved = b * z + a
    side = np.sign(moved)
    narrow = 1 / (1 + skew * side)
    u = moved * narrow
    squares = u * u
    inside = df - 2 + squares
    tail = float(np.log(inside).sum()) - len(z) * math.log(df - 2)
    pull = (df + 1) * u / inside * narrow  # of -ln g by b z + a
    by_a, by_b, by_side = float(pull.sum()), float(pull @ z), float(pull @ (u * side))
    push = 0.5 * (df + 1) / (df - 2) * float((squares / inside).sum())
    along_df = len(z) * (by_df + b_by_df / b) - b_by_df * by_b - a_by_df * by_a
    along_skew = len(z) * b_by_skew / b - b_by_skew * by_b - a_by_skew * by_a + by_side
    total = len(z) * (constant + math.log(b)) - 0.5 * (df + 1) * tail
    return total, -b * pull, np.array([along_df - 0.5 * tail + push, along_skew])


def garch_backwards(
    parameters: Floats, e: Floats, variance: Floats, first: float, by_h: Floats
) -> tuple[Floats, Floats]:
    """Of variance = omega + (alpha + gamma 1{e < 0}) e^2 + beta variance; gamma may be absent."""
    _, alpha, *gamma, beta = parameters.tolist()
    reach = np.asarray(lfilter([1.0], [1.0, -beta], (by_h / variance)[::-1]))[::-1]
    later, squares = reach[1:], e[:-1] ** 2
    news = later @ squares + reach[0] * first
    by = [reach.sum(), news, later @ variance[:-1] + reach[0] * first]
    weight = np.full(len(e), alpha)
    if gamma:
        below = e < 0
        by.insert(2, later @ (squares * below[:-1]) + 0.5 * reach[0] * first)
        weight = weight + gamma[0] * below
    return np.array(by), np.append(2 * later * weight[:-1] * e[:-1], 0.0)


def egarch_backwards(
    parameters: Floats, e: Floats, variance: Floats, first: float, by_h: Floats
) -> tuple[Floats, Floats]:
    """Of h = omega + alpha (|z| - sqrt(2 / pi)) + gamma z + beta h."""
    _, alpha, gamma, beta = parameters.tolist()
    deviation = np.sqrt(variance)
    z = e / deviation
    size = np.abs(z)
    # reach[t] = by_h[t] + carry[t] reach[t + 1]: an upper triangle of two bands.
    bands = np.ones((2, len(e)))
    bands[0, 1:] = 0.5 * (alpha * size[:-1] + gamma * z[:-1]) - beta
    bound: Any = lapack  # its names are made when it is imported
    reach = np.asarray(bound.dtbtrs(bands, by_h[:, None])[0])[:, 0]
    later = reach[1:]
    by = [
        reach.sum(),
        later @ (size[:-1] - CENTRE),
        later @ z[:-1],
        later @ np.log(variance[:-1]) + reach[0] * first,
    ]
    push = later * (alpha * np.sign(z[:-1]) + gamma) / deviation[:-1]
    return np.array(by), np.append(push, 0.0)


def _constant(df: float) -> tuple[float, float]:
    """Log density of a t of variance one at zero, and its derivative by df."""
    constant = gammaln((df + 1) / 2) - gammaln(df / 2) - 0.5 * math.log(math.pi * (df - 2))
    by_df = 0.5 * (digamma((df + 1) / 2) - digamma(df / 2) - 1 / (df - 2))
    return float(constant), float(by_df)
