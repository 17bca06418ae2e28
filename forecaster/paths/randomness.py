"""Random numbers that belong to (seed, symbol, origin, step, path) and to nothing else.

Another symbol, origin, path or step more changes none of them; nor does the order in which they are
asked for.
"""

import hashlib

import numpy as np

from forecaster.bars import Floats

# Levels a bar needs, by place.
RETURN, FILLED, ROW, GAP, UPPER, LOWER, ACTIVITY = range(7)
WITHIN = 7  # first of four: where inside the bins of GAP, UPPER, LOWER, ACTIVITY
LEVELS = 12  # a bar; a multiple of the four words that one count of Philox gives
STRIDE = 2**64  # counts from one step to the next


def levels(seed: int, origin: tuple[str, str], step: int, paths: range) -> Floats:
    """[len(paths), LEVELS] uniform in [0, 1); an origin is a symbol and the label of its bar.

    Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011): Philox counts, so
    that any place of its sequence can be read without what comes before it.
    """
    key = hashlib.sha256("\n".join((str(seed), *origin)).encode()).digest()[:16]
    count = step * STRIDE + paths.start * LEVELS // 4
    philox = np.random.Philox(key=int.from_bytes(key, "little"), counter=count)
    return np.random.Generator(philox).random((len(paths), LEVELS))
