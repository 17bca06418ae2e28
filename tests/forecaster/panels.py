"""Small panels for tests, drawn from laws that are written out here."""

from dataclasses import replace

import numpy as np

from forecaster.bars import Bars, Panel
from forecaster.symbols import Symbol

FIRST_DAY = np.datetime64("2000-01-03")


def bars_from_returns(symbol: str, returns: np.ndarray, seed: int) -> Bars:
    """Daily bars whose closes follow `returns`; opens, wicks and volumes drawn around them."""
    rng = np.random.default_rng((seed, len(returns)))
    close = 100 * np.exp(np.cumsum(returns))
    previous = np.concatenate(([100.0], close[:-1]))
    spread = np.abs(returns).mean() + 1e-4
    open_ = previous * np.exp(rng.normal(0, 0.3 * spread, len(close)))
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    return Bars(
        symbol=Symbol(symbol),
        opened_at=FIRST_DAY + np.arange(len(close)) * np.timedelta64(1, "D"),
        open=open_,
        high=top * np.exp(np.abs(rng.normal(0, 0.4 * spread, len(close)))),
        low=bottom * np.exp(-np.abs(rng.normal(0, 0.4 * spread, len(close)))),
        close=close,
        volume=np.exp(rng.normal(13, 0.3, len(close))).round(),
        adjustment=np.ones(len(close)),
    )


def walk_panel(n: int = 900, symbols: int = 2, seed: int = 0, sigma: float = 0.01) -> Panel:
    """Independent normal returns: nothing to forecast but their scale."""
    members = []
    for i in range(symbols):
        returns = np.random.default_rng((seed, i)).normal(0, sigma, n)
        members.append(bars_from_returns(f"WALK-{i}", returns, seed))
    return Panel(tuple(members))


def garch_returns(n: int, seed: int, alpha: float = 0.1, beta: float = 0.88) -> np.ndarray:
    """GARCH(1,1) normal returns of 1 % a day on average."""
    rng = np.random.default_rng(seed)
    omega, variance, out = 1e-4 * (1 - alpha - beta), 1e-4, np.empty(n)
    for t in range(n):
        out[t] = np.sqrt(variance) * rng.normal()
        variance = omega + alpha * out[t] ** 2 + beta * variance
    return out


def garch_panel(n: int = 2000, symbols: int = 2, seed: int = 0) -> Panel:
    """Volatility that clusters: what volatility models and learners can see."""
    return Panel(
        tuple(
            bars_from_returns(f"GARCH-{i}", garch_returns(n, 10 * seed + i), seed)
            for i in range(symbols)
        )
    )


def rewritten_after(panel: Panel, moment: np.datetime64, seed: int = 99) -> Panel:
    """The same panel up to `moment`, other bars of the same times after it."""
    rng = np.random.default_rng(seed)
    members = []
    for bars in panel:
        known = len(bars.until(moment))
        factor = np.ones(len(bars))
        factor[known:] = np.exp(rng.normal(0, 0.3, len(bars) - known))
        prices = {n: getattr(bars, n) * factor for n in ("open", "high", "low", "close")}
        volume = bars.volume.copy()
        volume[known:] *= rng.uniform(0.1, 10, len(bars) - known)
        members.append(replace(bars, **prices, volume=volume))
    return Panel(tuple(members))


def times_four(panel: Panel) -> Panel:
    """Every price times four: exact in binary, so nothing that is scale-free may move by a bit."""
    return Panel(
        tuple(
            replace(b, **{n: 4 * getattr(b, n) for n in ("open", "high", "low", "close")})
            for b in panel
        )
    )
