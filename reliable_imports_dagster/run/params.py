"""A processor's `Params` as Dagster's config: typed, documented and with defaults in the launchpad.

Dagster knows few types. A date, a decimal number, a path travel as text, and the model itself reads them when the run
starts; so whatever pydantic can read from JSON can be a parameter.
"""

import enum
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import dagster as dg
from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.fields import FieldInfo

from reliable_imports import BaseProcessor

# Their constructors have no types.
_SHAPE: Any = dg.Shape
_MAP: Any = dg.Map
_PERMISSIVE: Any = dg.Permissive

_AS_TEXT: dict[type, str] = {
    datetime: "date and time, as 2024-01-31T12:00:00Z",
    date: "date, as 2024-01-31",
    time: "time of day, as 12:00",
    timedelta: "duration, as PT15M or 00:15:00",
    Decimal: "decimal number, in quotes",
    UUID: "UUID",
    PurePath: "path",
}
_BOUNDS = {
    "gt": "above {}",
    "ge": "at least {}",
    "lt": "below {}",
    "le": "at most {}",
    "multiple_of": "a multiple of {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
    "pattern": "like {}",
}


def params_field(processor: type[BaseProcessor]) -> dg.Field | None:
    """The config of a processor's `Params`; None if it declares none. Required if one of its fields has no default."""
    model = processor.Params
    if model is None:
        return None
    shape = _shape(model, (_identifier(processor.batch_type),), (model,))
    return dg.Field(shape, description=_text_of(model) or f"What a batch of {processor.batch_type} can be told.")


def required_params(processor: type[BaseProcessor]) -> list[str]:
    """The params without a default: a run that nobody configures cannot start."""
    return [] if processor.Params is None else _required(processor.Params)


def _required(model: type[BaseModel]) -> list[str]:
    return [_key(name, info) for name, info in model.model_fields.items() if info.is_required()]


def _shape(model: type[BaseModel], path: tuple[str, ...], within: tuple[type, ...]) -> Any:
    return _SHAPE(
        {
            _key(name, info): _field(info, (*path, _identifier(name)), within)
            for name, info in model.model_fields.items()
        },
        description=_text_of(model),
    )


def _field(info: FieldInfo, path: tuple[str, ...], within: tuple[type, ...]) -> dg.Field:
    config = _lower(info.annotation, path, within)
    description = _description(info)
    if info.is_required():
        return dg.Field(config, description=description, is_required=True)
    if info.default_factory is not None:  # such as today's date: to be asked when a run starts, not when code loads
        return dg.Field(config, description=description, is_required=False)
    annotation: Any = info.annotation
    default = TypeAdapter(annotation).dump_python(info.default, mode="json", by_alias=True, warnings=False)
    return dg.Field(config, description=description, is_required=False, default_value=default)


def _lower(annotation: Any, path: tuple[str, ...], within: tuple[type, ...]) -> Any:
    """The nearest of Dagster's config types."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _lower(arguments[0], path, within)
    if origin in (typing.Union, types.UnionType):
        others = [argument for argument in arguments if argument is not types.NoneType]
        inner = _lower(others[0], path, within) if len(others) == 1 else dg.Any
        return dg.Noneable(inner) if types.NoneType in arguments else inner
    if origin is typing.Literal:
        return _choice(arguments, path)
    if isinstance(origin, type):
        return _lower_collection(origin, arguments, path, within)
    if not isinstance(annotation, type):
        return dg.Any
    if issubclass(annotation, BaseModel):
        # A model within itself has no end: what is deeper is checked by the model alone.
        return _PERMISSIVE() if annotation in within else _shape(annotation, path, (*within, annotation))
    if issubclass(annotation, enum.Enum):
        return _choice([member.value for member in annotation], path)
    if issubclass(annotation, tuple(_AS_TEXT)):
        return dg.StringSource
    return _by_json_schema(annotation)


def _lower_collection(origin: type, arguments: tuple[Any, ...], path: tuple[str, ...], within: tuple[type, ...]) -> Any:
    if issubclass(origin, Mapping):
        if arguments[:1] == (str,):
            return _MAP(str, _lower(arguments[1], path, within))
        return _PERMISSIVE()
    if issubclass(origin, Iterable):
        kinds = {argument for argument in arguments if argument is not Ellipsis}
        return dg.Array(_lower(kinds.pop(), path, within) if len(kinds) == 1 else dg.Any)
    return dg.Any


def _choice(values: Iterable[Any], path: tuple[str, ...]) -> Any:
    values = list(values)
    if all(isinstance(value, str) for value in values):
        # Two enumerations of one name would be one to Dagster. The name is all that its messages tell of the choices.
        name = f"{'_'.join(path)} ({' or '.join(values)})"
        return dg.Enum(name, [dg.EnumValue(str(value), python_value=value) for value in values])
    return dg.IntSource if all(type(value) is int for value in values) else dg.Any


def _by_json_schema(annotation: type) -> Any:
    try:
        kind = TypeAdapter(annotation).json_schema().get("type")
    except PydanticInvalidForJsonSchema:
        return dg.Any
    scalars: dict[Any, Any] = {
        "string": dg.StringSource,
        "integer": dg.IntSource,
        "boolean": dg.BoolSource,
        "number": dg.Float,
        "array": dg.Array(dg.Any),
        "object": _PERMISSIVE(),
    }
    return scalars.get(kind, dg.Any)


def _description(info: FieldInfo) -> str | None:
    """What the author says of it, what kind of text is expected, and within which bounds."""
    facts = [text for kind, text in _AS_TEXT.items() if _mentions(info.annotation, kind)][:1]
    told = "; ".join([*facts, *bounds_of(info)])
    if info.description is None:
        return told or None
    return f"{info.description} ({told})" if told else info.description


def bounds_of(info: FieldInfo) -> list[str]:
    """What the field's constraints say, in words."""
    return [
        told.format(bound)
        for constraint in [*info.metadata, *_constraints_within(info.annotation)]
        for name, told in _BOUNDS.items()
        if (bound := getattr(constraint, name, None)) is not None
    ]


def _constraints_within(annotation: Any) -> list[Any]:
    """Those of `Annotated[int, Field(gt=0)] | None`, which pydantic leaves where they stand."""
    found: list[Any] = []
    for part in typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else []:
        if typing.get_origin(part) is typing.Annotated:
            for extra in typing.get_args(part)[1:]:
                found += extra.metadata if isinstance(extra, FieldInfo) else [extra]
    return found


def _mentions(annotation: Any, kind: type) -> bool:
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return issubclass(annotation, kind)
    return any(_mentions(argument, kind) for argument in typing.get_args(annotation))


def _key(name: str, info: FieldInfo) -> str:
    return info.validation_alias if isinstance(info.validation_alias, str) else name


def _text_of(model: type[BaseModel]) -> str | None:
    return inspect.cleandoc(model.__doc__) if model.__doc__ and "__doc__" in model.__dict__ else None


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", name)
