"""Reports on fetched bars: each right after its bars are stored, so that an interrupt costs none.

Other symbols' clocks are known at the end alone; there they refine what no exchange has judged. A
report that cannot be made or kept is a note, for the bars are stored whatever becomes of it.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forecaster.bars import Times
from forecaster.errors import ForecasterError
from forecaster.fetch_report import FetchRecord
from forecaster.quality import Context, examine
from forecaster.sources import Delivery
from forecaster.store import Store

MOST_OTHERS = 25  # symbols whose clock judges another's missing days


class Judge:
    """What is odd about the bars of one fetch. `store` keeps the reports; None keeps nothing."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._seen: dict[str, Delivery] = {}

    def judged(self, record: FetchRecord, own: Delivery) -> FetchRecord:
        """The record with the report on its bars, which is kept beside them."""
        self._seen[record.symbol] = own
        return self._with_report(record, own, ())

    def refined(self, record: FetchRecord) -> FetchRecord:
        """The record with the report that others' clocks make, where no exchange is known to."""
        own, first = self._seen.get(record.symbol), record.quality
        others = [each.bars.opened_at for name, each in self._seen.items() if name != record.symbol]
        if own is None or first is None or not others or first.sessions == own.exchange:
            return record
        return self._with_report(record, own, others[:MOST_OTHERS])

    def _with_report(
        self, record: FetchRecord, own: Delivery, others: Sequence[Times]
    ) -> FetchRecord:
        try:
            at = np.datetime64(own.provenance.moment.replace(tzinfo=None), "us")
            quality = examine(
                own.bars, Context(exchange=own.exchange, others=others, fetched_at=at)
            )
            record = replace(record, quality=quality)
            if self._store is not None:
                self._store.note(own.bars, quality)
        except (ForecasterError, ValueError) as error:
            said = f"its report is not made or not kept: {error}"
            notes = record.notes if said in record.notes else (*record.notes, said)
            return replace(record, notes=notes)
        return record
