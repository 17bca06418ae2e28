"""Tables of a run as its page wants them: some models' rows of files that may not fit in memory."""

from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from forecaster import frames
from forecaster.encoding import DAMAGED
from forecaster.errors import CheckpointError, StorageError

FORECASTS = ("model", "unique_id", "cutoff", "h", *map(str, frames.QUANTILES))


def table_of(
    path: Path, models: Sequence[str], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Rows of some models of a table of a run, all columns or some.

    Raises StorageError where it is damaged, CheckpointError where it is of another version.
    """
    schema = frames.SCORES if path.name == "scores.parquet" else frames.PREDICTIONS
    try:
        with path.open("rb") as file:
            stored = pq.ParquetFile(pa.PythonFile(file, mode="r"), page_checksum_verification=True)
            if stored.schema_arrow.names != schema.names:
                raise CheckpointError(f"{path} is of another version; start a new run")
            table = stored.read_row_groups(_groups(stored, models), columns)
        table = table.filter(pc.field("model").isin(list(models)))
        return table.to_pandas(split_blocks=True, self_destruct=True)
    except DAMAGED as error:
        raise StorageError(f"{path}: not a parquet file that can be read: {error}") from error


def _groups(stored: pq.ParquetFile, models: Sequence[str]) -> list[int]:
    """Row groups that hold one of the models: most files have one model a group.

    By the column itself, a few bytes: to ask for a damaged group's bounds would end the process.
    """
    own = (stored.read_row_group(i, ["model"])["model"] for i in range(stored.num_row_groups))
    held = [set(names.unique().to_pylist()) for names in own]
    return [i for i, names in enumerate(held) if not names.isdisjoint(models)]


def sha256_of(path: Path) -> str:
    """Of a file's bytes, a few at a time."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
