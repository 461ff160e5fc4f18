"""What has failed in a batch, as the report asks the database once."""

from collections.abc import Sequence
from dataclasses import dataclass

from reliable_imports import BatchManager, BatchSummary, FailureReason, ReasonSummary


@dataclass(frozen=True, slots=True)
class Failures:
    """
    Attributes:
        reasons: what the batch's items failed for.
        causes: what the lineage's outstanding failures wait for.
        outstanding: how many failures of the lineage no reprocess has completed.
        ignored: how many of those failed for what people ignore.
    """

    reasons: Sequence[FailureReason]
    causes: Sequence[ReasonSummary]
    outstanding: int
    ignored: int

    @classmethod
    def of(cls, manager: BatchManager, summary: BatchSummary) -> "Failures":
        outstanding = manager.count_outstanding(summary.batch_id)
        return cls(
            reasons=manager.failure_reasons(summary.batch_id) if summary.failed_items else (),
            causes=manager.failures(summary.batch_id) if outstanding else (),
            outstanding=outstanding,
            ignored=manager.count_ignored(summary.batch_id) if outstanding else 0,
        )
