"""What a learner's network looks at when it forecasts from an origin: its attention maps.

T bars of the window, H heads.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backbones.maps import recorded
from backbones.model import Backbone
from forecaster.bars import Floats
from forecaster.errors import UsageError
from forecaster.learner.fitted import FittedLearner
from forecaster.learner.windows import Member, origin_windows
from forecaster.protocol import Origins


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowMaps:
    """One layer's maps over the bars of a window, by the names of `backbones.maps`."""

    maps: dict[str, Floats]  # each [H, T, T]; rows are the bars that look, the oldest first
    read: str  # the name of the map that the heads read through
    lam: Floats | None  # [H, T]


def require_maps(fitted: FittedLearner) -> None:
    """Raises UsageError, with the reason, for a learner whose windows have no map over bars."""
    if not isinstance(fitted.networks[0].backbone, Backbone):
        raise UsageError("a learner without attention has no maps: train a preset")
    if fitted.shuffle:
        raise UsageError("a shuffled window has no order that a map could show: train a preset")
    if fitted.config.panel is not None:
        raise UsageError(
            f"panel={fitted.config.panel}: its maps are over bars of several symbols; train a"
            " learner without panel"
        )


def window_maps(
    fitted: FittedLearner, members: Sequence[Member], origin: tuple[int, int], number: int = 0
) -> list[WindowMaps]:
    """Maps of network `number` for the window that ends at (member, bar), layer by layer.

    Raises DataError for an origin with less than a context of bars behind it.
    """
    where = Origins(*(np.array([each], dtype=np.int64) for each in origin))
    (_, batch), *_ = origin_windows(members, where, fitted.config.context, 1)
    network = fitted.networks[number]
    with torch.no_grad(), recorded(network) as layers:
        network(batch.tokens, batch.inputs)
    t = batch.tokens.shape[1]
    return [
        WindowMaps(
            maps={name: each[0].double().numpy() for name, each in layer.maps.items()},
            read=layer.read,
            lam=None
            if layer.lam is None
            else layer.lam.double()
            .expand(1, layer.maps["first"].shape[1], t, 1)[0, ..., 0]
            .numpy(),
        )
        for layer in layers
    ]
