"""The corrections of an edited file, as a run makes them."""

import dagster as dg

from reliable_imports import BatchManager, ConfigurationError, Corrections, ReprocessRequest
from reliable_imports_dagster.run.config import ReprocessConfig

_MOST_REFUSED = 20


def read_corrections(
    context: dg.OpExecutionContext, manager: BatchManager, config: ReprocessConfig, batch_type: str | None
) -> Corrections | None:
    """What the file of the config says, once it is told in the run's log; None if the config names none.

    Raises:
        ConfigurationError: the config says otherwise which items are meant.
        SourceError: as of `BatchManager.read_corrections`.
    """
    if config.corrections is None:
        return None
    if given := config.other_choices:
        raise ConfigurationError(f"corrections says which items are run again; leave out {' and '.join(given)}")
    corrections = manager.read_corrections(
        config.corrections, batch_id=config.batch_id, batch_type=None if config.batch_id is not None else batch_type
    )
    manager.registry.get(corrections.batch_type)
    found = corrections.found
    context.log.info(
        f"{sum(map(len, found.to_make.values())):,} of {corrections.rows:,} items are corrected in "
        f"{config.corrections}; {len(found.made):,} were corrected so before"
    )
    if corrections.reshown:
        context.log.warning(corrections.told_reshown)
    for held in found.held:
        context.log.info(f"batch {held} holds corrections of it back: `reliable-imports process {held}` begins it")
    for item, why in list(found.refused.items())[:_MOST_REFUSED]:
        context.log.warning(f"refused: item {item} {why}")
    if len(found.refused) > _MOST_REFUSED:
        context.log.warning(f"and {len(found.refused) - _MOST_REFUSED:,} more items")
    return corrections


def corrected_lineages(manager: BatchManager, corrections: Corrections) -> list[int]:
    """Those that the file corrects; and those that an earlier run has corrected by it, which may not have ended."""
    made = {by.batch_id for by in corrections.found.made.values()}
    return sorted({*corrections.found.to_make, *(manager.get_batch(batch_id).first_batch_id for batch_id in made)})


def under_way_of(manager: BatchManager, corrections: Corrections, lineage: int) -> list[int]:
    """Batches of the lineage that an earlier run has made by the file, and that have not ended."""
    return [each for each in corrections.found.under_way if manager.get_batch(each).first_batch_id == lineage]


def request_of(corrections: Corrections, lineage: int, config: ReprocessConfig, key: str | None) -> ReprocessRequest:
    """What is asked of one lineage."""
    return ReprocessRequest(
        corrections=corrections.found.to_make.get(lineage, {}),
        corrected_from=corrections.source,
        hold=config.hold,
        idempotency_key=key,
        requested_by="dagster",
    )
