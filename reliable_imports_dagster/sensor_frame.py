"""What all sensors have in common, so that each of them reads as what it decides."""

from collections.abc import Callable
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, ProcessorRegistry
from reliable_imports_dagster.resource import ReliableImportsResource

Decision = dg.SensorResult | str
"""What a tick leads to; a text says why to nothing."""


def build_sensor(
    name: str,
    registry: ProcessorRegistry,
    decide: Callable[[dg.SensorEvaluationContext, BatchManager], Decision],
    **options: Any,
) -> dg.SensorDefinition:
    """A sensor that asks *decide* at every tick; the *options* are those of `dagster.sensor`."""

    @dg.sensor(name=name, **options)
    def evaluate(
        context: dg.SensorEvaluationContext, reliable_imports: ReliableImportsResource
    ) -> dg.SensorResult | dg.SkipReason:
        decision = decide(context, reliable_imports.manager(registry))
        return dg.SkipReason(decision) if isinstance(decision, str) else decision

    return evaluate
