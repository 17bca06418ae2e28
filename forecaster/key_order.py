"""Tables in the order of their keys, strings compared by their few different values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

LONG_RUN = 64  # rows


def in_key_order(table: pa.Table, names: Sequence[str]) -> tuple[pa.Table, NDArray[np.bool_]]:
    """The table sorted by columns, nulls last, and which rows have the key of the row before."""
    keys = [_ranks(table[name].combine_chunks()) for name in names]
    after, same = _compared(keys)
    if not (after | same).all():
        order = np.lexsort(keys[::-1])
        table = _taken(table, order)
        same = _compared([key[order] for key in keys])[1]
    return table.combine_chunks(), np.append(np.zeros(min(1, len(table)), bool), same)


def _taken(table: pa.Table, order: NDArray[np.int64]) -> pa.Table:
    """Rows in an order: where long runs of them stay together, run by run, which is sooner."""
    starts = np.append(0, np.flatnonzero(np.diff(order) != 1) + 1)
    if LONG_RUN * len(starts) > len(order):
        return table.take(order)
    lengths = np.diff(np.append(starts, len(order)))
    runs = zip(order[starts].tolist(), lengths.tolist(), strict=True)
    return pa.concat_tables([table.slice(first, length) for first, length in runs])


def _compared(keys: Sequence[NDArray[Any]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[rows - 1] whether a row's key is greater than that of the row before, or the same."""
    size = max(len(keys[0]) - 1, 0)
    after, same = np.zeros(size, bool), np.ones(size, bool)
    for key in keys:
        after |= same & (key[1:] > key[:-1])
        same &= key[1:] == key[:-1]
    return after, same


def _ranks(column: pa.Array) -> NDArray[Any]:
    """What sorts as the column does: of strings, the rank of each."""
    if not pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    coded = column.dictionary_encode()
    words = coded.dictionary.to_pylist()
    rank = np.empty(len(words) + 1, dtype=np.int64)
    rank[sorted(range(len(words)), key=words.__getitem__)] = np.arange(len(words))
    rank[len(words)] = len(words)
    return rank[coded.indices.fill_null(len(words)).to_numpy()]
