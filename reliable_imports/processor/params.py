"""What a batch can be told: the values of a processor's `Params` model, kept with the batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reliable_imports.errors import InvalidParams

if TYPE_CHECKING:
    from reliable_imports.models import Batch
    from reliable_imports.processor.base import BaseProcessor

PARAMS = "params"
PARTITION = "partition"
"""The keys of a batch's metadata under which they are kept; a reprocess batch has those of the batch it repeats."""


_DAY = "%Y-%m-%d"
_HOUR = "%Y-%m-%d-%H:%M"
"""How partitions are named, as Dagster does it."""


def read_params(processor: type[BaseProcessor], values: object) -> Any:
    """*values*, a mapping or an instance of the model, as an instance of `processor.Params`; None without a model.

    Raises:
        InvalidParams: with the problem of every value.
    """
    model = processor.Params
    if model is None:
        if values:
            raise InvalidParams(processor.batch_type, {"params": f"{processor.__qualname__} declares no Params"})
        return None
    from pydantic import ValidationError

    if isinstance(values, model):
        values = values.model_dump(by_alias=True)
    try:
        return model.model_validate({} if values is None else values)
    except ValidationError as error:
        # Without the values: they may be personal.
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidParams(
            processor.batch_type,
            {".".join(str(part) for part in problem["loc"]) or "params": problem["msg"] for problem in problems},
        ) from None


def params_as_json(params: Any) -> Any:
    """As they are kept with the batch: defaults too, so that a later default does not change what is run again."""
    return params.model_dump(mode="json", by_alias=True)


def processor_for(processor: type[BaseProcessor], batch: Batch) -> BaseProcessor:
    """An instance that knows what its batch was told.

    Raises:
        InvalidParams: the model has changed, and the values of the batch do not fit it any more.
    """
    instance = processor()
    if processor.Params is not None:
        instance.params = read_params(processor, batch.metadata.get(PARAMS))
    partition = batch.metadata.get(PARTITION)
    instance.partition = partition if isinstance(partition, str) else None
    return instance


def with_params(
    processor: type[BaseProcessor], metadata: Mapping[str, Any] | None, params: object, partition: str | None
) -> dict[str, Any]:
    """The metadata of a new batch.

    Raises:
        InvalidParams: a value does not fit, or one is missing, or the processor has no such partition.
    """
    kept = dict(metadata or {})
    checked = read_params(processor, params)
    if checked is not None:
        kept[PARAMS] = params_as_json(checked)
    if partition is not None:
        _check_partition(processor, partition)
        kept[PARTITION] = partition
    return kept


def _check_partition(processor: type[BaseProcessor], partition: str) -> None:
    if processor.partitions is None:
        raise InvalidParams(processor.batch_type, {PARTITION: f"{processor.__qualname__} declares no partitions"})
    unit = processor.partitions.partition(" ")[0]
    try:
        datetime.strptime(partition, _HOUR if unit == "hourly" else _DAY)
    except ValueError:
        example = datetime(2024, 1, 31).strftime(_HOUR if unit == "hourly" else _DAY)
        problem = f"{partition!r} is none of those that are {unit}; write it like {example}"
        raise InvalidParams(processor.batch_type, {PARTITION: problem}) from None
