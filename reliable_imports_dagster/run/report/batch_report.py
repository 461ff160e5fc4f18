"""A batch as Dagster shows it: a materialization or an observation, with its checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from reliable_imports import BatchStatus, BatchSummary
from reliable_imports_dagster.run.report.checks import BatchCheck
from reliable_imports_dagster.run.report.told_before import DATA_VERSION

STORED = (BatchStatus.COMPLETED, BatchStatus.COMPLETED_WITH_FAILURES)


@dataclass(frozen=True, slots=True)
class BatchReport:
    """A batch as it stood when a run left it.

    Attributes:
        partition: the asset's; None if it has none, or the batch is for none of them.
        materializes: the asset holds what the batch delivered; else the batch is no more than an observation of it.
        data_version: changes with every batch that stores something, and by that alone.
        is_of_a_run: false where a test calls an op directly; there Dagster takes no checks.
    """

    summary: BatchSummary
    asset_key: dg.AssetKey
    metadata: dict[str, Any]
    checks: Sequence[BatchCheck]
    partition: str | None
    materializes: bool
    data_version: str
    is_of_a_run: bool = True

    @property
    def is_stored(self) -> bool:
        """The asset holds what the batch delivered, though it may have been told before."""
        return self.summary.status in STORED

    def results(self) -> Iterator[Any]:
        """For an asset to yield, whose output must be optional."""
        if self.materializes:
            yield dg.MaterializeResult(
                asset_key=self.asset_key, metadata=self.metadata, data_version=dg.DataVersion(self.data_version)
            )
        else:
            yield self._observation()
        for check in self.checks:
            yield dg.AssetCheckResult(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.description,
                metadata=check.metadata,
            )

    def events(self) -> Iterator[Any]:
        """For an op or a sensor, which materializes nothing by itself: the events that `results` would make.

        To be yielded: what an op only logs is lost if it raises afterwards.
        """
        if self.materializes:
            yield dg.AssetMaterialization(
                asset_key=self.asset_key,
                metadata=self.metadata,
                partition=self.partition,
                tags={DATA_VERSION: self.data_version},
            )
        else:
            yield self._observation()
        # A materialization without its check would turn the last evaluation into "not evaluated".
        yield from self.evaluations()

    def evaluations(self) -> Iterator[dg.AssetCheckEvaluation]:
        """The checks, as events; none where a test calls an op directly."""
        for check in self.checks if self.is_of_a_run else []:
            yield dg.AssetCheckEvaluation(
                asset_key=self.asset_key,
                check_name=check.name,
                passed=check.passed,
                severity=check.severity,
                description=check.description,
                metadata=check.metadata,
                partition=self.partition,
            )

    def _observation(self) -> dg.AssetObservation:
        return dg.AssetObservation(
            asset_key=self.asset_key,
            description=self.checks[0].description,
            metadata=self.metadata,
            partition=self.partition,
        )
