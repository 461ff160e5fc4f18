"""The processors of a `dg` project from one YAML file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import dagster as dg

from reliable_imports import ProcessorRegistry
from reliable_imports_dagster.definitions import build_reliable_imports_defs
from reliable_imports_dagster.discovery import discover
from reliable_imports_dagster.report import FailRunOn
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator

_SKELETON = '''from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext


class {name}Processor(BaseProcessor):
    """What one item is, and where it goes."""

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return bool(item.source_data)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict:
        raise NotImplementedError("write the item to its table with ctx.upsert")
'''


class ReliableImportsScaffolder(dg.Scaffolder):
    """Writes a defs.yaml that loads, and a processor to fill in beside it."""

    def scaffold(self, request: dg.ScaffoldRequest) -> None:
        folder = request.target_path
        words = [word for word in re.split(r"\W|_", folder.name) if word]
        (folder / "processors.py").write_text(_SKELETON.format(name="".join(word.capitalize() for word in words)))
        parts = list(folder.absolute().parts)
        root = len(parts) - parts[::-1].index("defs") - 2
        dg.scaffold_component(request, {"packages": [".".join([*parts[root:], "processors"])]})


@dg.scaffold_with(ReliableImportsScaffolder)
@dataclass
class ReliableImportsComponent(dg.Component, dg.Resolvable):
    """Assets, jobs, schedules and the reprocess sensor of the processors in `packages`; override a method to differ."""

    packages: Sequence[str]
    batch_types: Sequence[str] = field(default_factory=list)
    dsn: str | None = None
    sensors: bool = False
    schedules: bool = False
    fail_run_on: FailRunOn = "failed"

    def get_registry(self) -> ProcessorRegistry:
        """The processors that become definitions: those of `batch_types`, or all."""
        found = discover(list(self.packages))
        if not self.batch_types:
            return found
        chosen = ProcessorRegistry()
        for batch_type in self.batch_types:
            chosen.register(found.get(batch_type))
        return chosen

    def get_translator(self) -> DagsterReliableImportsTranslator | None:
        """How a processor becomes an asset; None is the usual way."""
        return None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Touches no database."""
        return build_reliable_imports_defs(
            self.get_registry(),
            resource=ReliableImportsResource(dsn=self.dsn) if self.dsn else None,
            translator=self.get_translator(),
            fail_run_on=self.fail_run_on,
            reprocess_sensor_status=dg.DefaultSensorStatus.RUNNING if self.sensors else dg.DefaultSensorStatus.STOPPED,
            schedule_status=dg.DefaultScheduleStatus.RUNNING if self.schedules else dg.DefaultScheduleStatus.STOPPED,
        )
