"""The processors of a `dg` project from YAML files, one for each folder of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.core_models import OpSpec
from dagster.components.utils.translation import TranslationFn, TranslationFnResolver

from reliable_imports import BaseProcessor, ConfigurationError, ProcessorRegistry
from reliable_imports_dagster.build.assets import import_asset
from reliable_imports_dagster.components.scaffolder import ReliableImportsScaffolder
from reliable_imports_dagster.definitions import processor_defs, shared_defs
from reliable_imports_dagster.discovery import discover
from reliable_imports_dagster.names import RESOURCE
from reliable_imports_dagster.options import AssetOptions
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator


def _absolute(context: dg.ResolutionContext, packages: Sequence[str]) -> list[str]:
    """A leading dot is the folder of the component's YAML file, wherever that is moved to."""
    component = dg.ComponentLoadContext.from_resolution_context(context)
    folder = component.path if component.path.is_dir() else component.path.parent
    return [
        f"{component.defs_relative_module_name(folder)}{package}" if package.startswith(".") else package
        for package in context.resolve_value(packages, as_type=list[str])
    ]


@dg.scaffold_with(ReliableImportsScaffolder)
@dataclass
class ReliableImportsComponent(dg.Component, dg.Resolvable):
    """Assets, jobs and schedules of the processors in `packages`, and what reprocesses their failures.

    A project may have several of these on one database. They share the resource; the sensors, and the jobs
    that these start, are made by the last of them for the processors of all. How
    assets show is for `translation` to say, or for a subclass that overrides `get_asset_spec`.

    Attributes:
        packages: where the processors are; a name that begins with a dot is looked for beside the YAML file.
        batch_types: only these, if any are given.
        dsn_variable: the environment variable that holds the DSN. It is read when a run starts. Without it,
            RELIABLE_IMPORTS_DSN, else the embedded server.
        migrate: whether runs bring the schema up to date; if false, a missing migration is an error.
        show_failed_values: whether reasons show the commonest values of the field at fault; not for personal data.
        fail_run_on: when a run fails because of its items: `failed`, if none was completed; `any_failure`; `never`.
        op: of the ops that import and reprocess: their `tags`, their `pool`, of which each takes a slot, and the
            `backfill_policy`, `{type: single_run}` or `{type: multi_run, max_partitions_per_run: 10}`.
        retry_policy, hooks: of these ops, by template variables.
        sensors: whether the sensors run without being switched on in the UI; one component that says so is enough.
        schedules: the same of the schedules.
        translation: attributes of each asset, such as `group_name`, `owners`, `automation_condition`,
            `partitions_def` or `key`;
            `{{ batch_type }}`, `{{ processor }}` and `{{ spec }}` stand for what is translated.
    """

    packages: Annotated[Sequence[str], dg.Resolver(_absolute)]
    batch_types: Sequence[str] = field(default_factory=list)
    dsn_variable: str | None = None
    migrate: bool = True
    show_failed_values: bool = False
    fail_run_on: FailRunOn = "failed"
    op: OpSpec | None = None
    retry_policy: Annotated[dg.RetryPolicy | None, dg.Resolver.default(model_field_type=str | None)] = None
    hooks: Annotated[set[dg.HookDefinition] | None, dg.Resolver.default(model_field_type=str | None)] = None
    sensors: bool = False
    schedules: bool = False
    translation: Annotated[
        TranslationFn[type[BaseProcessor]] | None,
        TranslationFnResolver[type[BaseProcessor]](
            template_vars_for_translation_fn=lambda processor: {
                "processor": processor,
                "batch_type": processor.batch_type,
            }
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.op is not None and (self.op.name is not None or self.op.description is not None):
            raise ConfigurationError(
                "op takes tags, pool and backfill_policy; its name and description are the asset's"
            )
        # Somebody's DSN may stand here by mistake: the message does not repeat it.
        if self.dsn_variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.dsn_variable):
            raise ConfigurationError(
                "dsn_variable is not the name of an environment variable; put the DSN into one, and its name here"
            )

    def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
        """The asset of a processor. Override it for what `translation` cannot say."""
        spec = DagsterReliableImportsTranslator().get_asset_spec(processor)
        return spec if self.translation is None else self.translation(spec, processor)

    def execute(
        self,
        context: dg.AssetExecutionContext,
        processor: type[BaseProcessor],
        reliable_imports: ReliableImportsResource,
    ) -> Iterator[Any]:
        """What materializing the asset of a processor does. Override it to do more, before it or after."""
        yield from import_asset(context, processor, reliable_imports, fail_run_on=self.fail_run_on)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Touches no database.

        Jobs run in one process, where a second would cost more than many a batch; the executor of the project, for
        assets that are materialized by hand, stays as it is.

        Raises:
            DiscoveryError, DuplicateBatchType, InvalidProcessor, UnknownBatchType: the processors cannot be used.
            ConfigurationError: the components of the project name different databases.
        """
        own = dg.Definitions.merge(
            processor_defs(
                self._registry(),
                translator=_ByComponent([self]),
                fail_run_on=self.fail_run_on,
                pool=self._pool(),
                executor=dg.in_process_executor,
                options=self._options(),
                execute=self.execute,
                schedule_status=dg.DefaultScheduleStatus.RUNNING
                if self.schedules
                else dg.DefaultScheduleStatus.STOPPED,
            ),
            dg.Definitions(resources={RESOURCE: _resource(self.dsn_variable, self.migrate, self.show_failed_values)}),
        )
        siblings = context.component_tree.get_all_components(ReliableImportsComponent)
        if not any(sibling is self for sibling in siblings):  # made in Python, and not a part of the tree
            siblings = [self]
        # The last one, so that each component's own mistakes have been told in its own name before.
        return dg.Definitions.merge(own, self._shared_defs(siblings)) if siblings[-1] is self else own

    def _shared_defs(self, components: "list[ReliableImportsComponent]") -> dg.Definitions:
        resources = {
            (component.dsn_variable, component.migrate, component.show_failed_values) for component in components
        }
        if len(resources) > 1:
            raise ConfigurationError(
                "the components of one project share a database and a resource; give all the same dsn_variable, "
                "migrate and show_failed_values"
            )
        run_sensors = any(component.sensors for component in components)
        status = dg.DefaultSensorStatus.RUNNING if run_sensors else dg.DefaultSensorStatus.STOPPED
        return shared_defs(
            _registry_of(components),
            translator=_ByComponent(components),
            fail_run_on=self.fail_run_on,
            pool=self._pool(),
            executor=dg.in_process_executor,
            sensor_status=status,
            reprocess_sensor_status=status,
            options=self._options(),
        )

    def _pool(self) -> str | None:
        return None if self.op is None else self.op.pool

    def _options(self) -> AssetOptions:
        """What is said of the ops; `get_asset_spec` says what assets are."""
        options: AssetOptions = {}
        if self.op is not None and self.op.tags is not None:
            options["op_tags"] = self.op.tags
        if self.op is not None and self.op.backfill_policy is not None:
            options["backfill_policy"] = self.op.backfill_policy
        if self.retry_policy is not None:
            options["retry_policy"] = self.retry_policy
        if self.hooks is not None:
            options["hooks"] = self.hooks
        return options

    def _registry(self) -> ProcessorRegistry:
        found = discover(self.packages)
        if not self.batch_types:
            return found
        chosen = ProcessorRegistry()
        for batch_type in self.batch_types:
            chosen.register(found.get(batch_type))
        return chosen


class _ByComponent(DagsterReliableImportsTranslator):
    """Each processor as its own component shows it."""

    def __init__(self, components: Sequence[ReliableImportsComponent]) -> None:
        self._components = {
            processor.batch_type: component for component in components for processor in component._registry()
        }

    def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
        return self._components[processor.batch_type].get_asset_spec(processor)


def _registry_of(components: Sequence[ReliableImportsComponent]) -> ProcessorRegistry:
    merged = ProcessorRegistry()
    for component in components:
        for processor in component._registry():
            merged.register(processor)
    return merged


@cache
def _resource(dsn_variable: str | None, migrate: bool, show_failed_values: bool) -> ReliableImportsResource:
    """One object for all components: Dagster takes two equal resources under one key for a conflict."""
    return ReliableImportsResource(
        dsn=dg.EnvVar(dsn_variable) if dsn_variable else None, migrate=migrate, show_failed_values=show_failed_values
    )
