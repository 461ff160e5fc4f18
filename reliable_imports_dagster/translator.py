"""How a processor appears among Dagster's assets."""

import dataclasses
import inspect
import types
import typing
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.utils import DISALLOWED_NAMES  # no public name
from pydantic import AliasChoices, AliasPath, AwareDatetime, NaiveDatetime

from reliable_imports import BaseProcessor, InvalidProcessor, ProcessorRegistry, TableProcessor
from reliable_imports.orchestration import TableFacts, code_version, facts_of, source_of
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.freshness import freshness_of
from reliable_imports_dagster.names import GROUP
from reliable_imports_dagster.options import AssetOptions, applied
from reliable_imports_dagster.partitions import partitions_of
from reliable_imports_dagster.run.params import bounds_of
from reliable_imports_dagster.run.tags import BATCH_TYPE


class DagsterReliableImportsTranslator:
    """Turns processors into asset specs. Subclass it to change keys, groups, owners, tags:

    class OurTranslator(DagsterReliableImportsTranslator):
        def get_asset_spec(self, processor):
            spec = super().get_asset_spec(processor)
            return spec.replace_attributes(key=spec.key.with_prefix("crm"), owners=["team:crm"])
    """

    def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
        """The asset that a batch of *processor* materializes.

        Dependencies are named by batch type; where all assets are built together, they follow to the keys that this
        method gives the others.
        """
        return dg.AssetSpec(
            key=processor.batch_type,
            deps=[dg.AssetKey(batch_type) for batch_type in processor.depends_on],
            description=inspect.cleandoc(processor.__doc__) if processor.__doc__ else None,
            group_name=GROUP,
            kinds={"postgres", "python"},
            code_version=code_version(processor),
            metadata=_metadata(processor),
            partitions_def=partitions_of(processor),
            freshness_policy=freshness_of(processor),
        )


class WithOptions(DagsterReliableImportsTranslator):
    """What another translator says, and over it what a team says of all its assets."""

    def __init__(self, translator: DagsterReliableImportsTranslator | None, options: AssetOptions) -> None:
        self._translator = translator or DagsterReliableImportsTranslator()
        self._options = options

    def get_asset_spec(self, processor: type[BaseProcessor]) -> dg.AssetSpec:
        return applied(self._translator.get_asset_spec(processor), self._options)


def build_import_asset_specs(
    packages: Packages, *, translator: DagsterReliableImportsTranslator | None = None
) -> list[dg.AssetSpec]:
    """The specs of all processors in *packages*, for assets that a team defines itself, or that run elsewhere.

    Raises:
        DiscoveryError, DuplicateBatchType: a package cannot be used.
    """
    return list(asset_specs(discover(packages), translator or DagsterReliableImportsTranslator()).values())


def asset_specs(registry: ProcessorRegistry, translator: DagsterReliableImportsTranslator) -> dict[str, dg.AssetSpec]:
    """The specs of all processors by batch type, each depending on the others by the keys that they really have."""
    specs = {processor.batch_type: _usable(translator.get_asset_spec(processor), processor) for processor in registry}
    keys = {dg.AssetKey(batch_type): spec.key for batch_type, spec in specs.items()}
    return {
        batch_type: spec.replace_attributes(
            deps=[
                dg.AssetDep(
                    keys.get(dep.asset_key, dep.asset_key),
                    partition_mapping=dep.partition_mapping,
                    metadata=dep.metadata,
                )
                for dep in spec.deps
            ]
        )
        for batch_type, spec in specs.items()
    }


def _usable(spec: dg.AssetSpec, processor: type[BaseProcessor]) -> dg.AssetSpec:
    """Dagster refuses these words too, and does not say whose they are."""
    if spec.key.to_python_identifier() in DISALLOWED_NAMES:
        raise InvalidProcessor(
            processor.__qualname__,
            f"Dagster keeps the word {spec.key.to_user_string()!r} for itself; give the processor another batch_type, "
            "or its asset another key by a translator, such as one with a prefix",
        )
    return spec


def _metadata(processor: type[BaseProcessor]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        BATCH_TYPE: processor.batch_type,
        "processor": f"{processor.__module__}.{processor.__qualname__}",
        **_code_references(processor),
    }
    if processor.source is not None:
        metadata["source"] = dg.MetadataValue.path(str(processor.source))
    if issubclass(processor, TableProcessor):
        metadata["dagster/table_name"] = processor.table
        # What is left to the table is told when a run has read it.
        columns = list(_columns(processor)) if processor.model is not None else []
        if columns:
            metadata["dagster/column_schema"] = dg.TableSchema(columns=columns)
    return metadata


def _code_references(processor: type[BaseProcessor]) -> dict[str, Any]:
    """Where the class is, for the link in the UI. `dg.link_code_references_to_git` turns it into a URL."""
    source = source_of(processor)
    if source is None:
        return {}
    with warnings.catch_warnings():
        # Dagster calls them beta, and would say so once for each processor.
        warnings.simplefilter("ignore", dg.BetaWarning)
        reference = dg.LocalFileCodeReference(
            file_path=source.file, line_number=source.line, label=processor.__qualname__
        )
        return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=[reference])}


def _columns(processor: type[TableProcessor]) -> Iterator[dg.TableColumn]:
    """Those of the table, each by its own name, with the names that its value has in the source where these differ."""
    model, facts = processor.model, facts_of(processor)
    key = facts.key_columns() if isinstance(facts, TableFacts) else ()

    def renamed(sources: Sequence[str]) -> list[str]:
        return [name for source in sources for name in facts.spelling.told_names(source)]

    if dataclasses.is_dataclass(model):
        for field in dataclasses.fields(model):
            yield _column(field.name, field.type, renamed([field.name]), None, key, [])
        return
    for name, info in getattr(model, "model_fields", {}).items():
        if not info.exclude:
            sources = renamed(list(_aliases(info.validation_alias)) or [name])
            yield _column(name, info.annotation, sources, info.description, key, bounds_of(info))


def _aliases(alias: Any) -> Iterator[str]:
    """As one would write them: `name`, or `outer.inner` where the value stands inside another one."""
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, AliasPath):
        yield ".".join(map(str, alias.path))
    elif isinstance(alias, AliasChoices):
        for each in alias.choices:
            yield from _aliases(each)


def _column(
    name: str, annotation: Any, sources: Sequence[str], description: str | None, key: Sequence[str], bounds: list[str]
) -> dg.TableColumn:
    origin = "" if list(sources) == [name] else f"Read from {' or '.join(sources)}."
    constraints = dg.TableColumnConstraints(
        nullable=_may_be_none(annotation),
        unique=key == (name,),
        other=[*(["part of the key"] if len(key) > 1 and name in key else []), *bounds],
    )
    told = " ".join(filter(None, [description, origin])) or None
    return dg.TableColumn(name, _type_name(annotation), description=told, constraints=constraints)


def _may_be_none(annotation: Any) -> bool:
    if isinstance(annotation, str):  # of a dataclass, not evaluated
        return "None" in annotation or "Optional" in annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return _may_be_none(typing.get_args(annotation)[0])
    return annotation in (None, types.NoneType, Any) or types.NoneType in typing.get_args(annotation)


def _type_name(annotation: Any) -> str:
    """`int`, `str`: as one would write it, without the modules' names; that it may be None is told beside it."""
    if isinstance(annotation, str):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        return " | ".join(_type_name(part) for part in parts)
    if typing.get_origin(annotation) is typing.Annotated:
        return _type_name(typing.get_args(annotation)[0])
    if annotation is AwareDatetime or annotation is NaiveDatetime:
        return "datetime"
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
