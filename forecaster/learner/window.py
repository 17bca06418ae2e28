"""One window of one symbol's bars, as arrays.

T bars, F token fields, I continuous inputs, J targets, H horizons.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Window:
    """What a network sees of each bar, and what it is to be taught there."""

    tokens: NDArray[np.int64]  # [T, F]
    inputs: NDArray[np.float32]  # [T, I]
    targets: NDArray[np.int64]  # [T, J]; -1 where there is none
    returns: NDArray[np.float32]  # [T, H] in units of the prior's scale; NaN where there is none
