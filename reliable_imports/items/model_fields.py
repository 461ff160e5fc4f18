"""What a pydantic model (or a dataclass, or a TypedDict) asks of a source: its fields, their names there, and what it
says of an item that does not fit."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, get_args

from reliable_imports.errors import InvalidRow
from reliable_imports.items.message_values import without_values

# Where messages of pydantic's own quote the input.
_QUOTED_INPUT = re.compile(r"(?<=Input tag ').*(?=' found using)|(?<=found `).*(?=` at )", re.DOTALL)

_MAX_PLACES = 1_000

CellKind = Literal["int", "float", "decimal", "date", "datetime", "time"]
"""What a field is, as far as the way in which a source may write it depends on it."""


class ModelField(NamedTuple):
    """One field of a model, or one column of a table that items are checked against.

    Attributes:
        source_names: the names under which a source may give it, the likeliest first; an alias counts, and where the
            value is taken from inside another one (AliasPath), the outer name.
        is_required: the model has no default for it.
        wants_decimal: somewhere in its type is a `Decimal`.
        is_path: its value stands inside another one (AliasPath).
        is_dumped: it is part of the model's dump.
        kind: None for what is neither a number nor a date or time, or may be something else as well.
    """

    name: str
    source_names: tuple[str, ...]
    is_required: bool
    wants_decimal: bool
    is_path: bool = False
    is_dumped: bool = True
    kind: CellKind | None = None


OtherColumns = Literal["unread", "perhaps", "taken", "rewritten"]
"""What becomes of columns that no field of a model is named for: nobody reads them; code of the processor's may; the
model takes them all (`extra="allow"`); a validator before the model may read them and make fields of them."""


def fields_of(core_schema: Mapping[str, Any]) -> tuple[ModelField, ...]:
    """The fields of a model by its pydantic-core schema, in their order; none if it has no fields (a RootModel)."""
    definitions: dict[str, Mapping[str, Any]] = {}
    by_name = False
    schema: Mapping[str, Any] = {}
    for schema in _outer(core_schema, definitions):
        config = schema.get("config") or {}
        by_name = by_name or bool(config.get("validate_by_name") or config.get("populate_by_name"))
    fields = schema.get("fields", ())
    named = fields.items() if isinstance(fields, Mapping) else [(field["name"], field) for field in fields]
    return tuple(_field(name, field, by_name, definitions) for name, field in named)


def may_change_fields(core_schema: Mapping[str, Any]) -> bool:
    """Whether code looks at the model as a whole, and may make one field of several."""
    schema = core_schema
    while isinstance(schema.get("schema"), Mapping) and schema["type"] not in ("model-fields", "typed-dict"):
        if schema["type"].startswith("function-") or schema.get("post_init"):
            return True
        schema = schema["schema"]
    return False


def other_columns_of(core_schema: Mapping[str, Any]) -> OtherColumns:
    """What the model itself does with columns that are not its fields."""
    found: OtherColumns = "unread"
    for schema in _outer(core_schema, {}):
        if schema["type"] in ("function-before", "function-wrap", "function-plain") or schema.get("custom_init"):
            return "rewritten"
        config = schema.get("config") or {}
        if "allow" in (config.get("extra_fields_behavior"), schema.get("extra_behavior")):
            found = "taken"
    return found


def _outer(schema: Mapping[str, Any], definitions: dict[str, Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The schema and what it wraps, from the outside in, up to the one that has the fields, if there is one."""
    while True:
        for each in schema.get("definitions", ()):
            definitions[each["ref"]] = each
        yield schema
        if schema["type"] in ("model-fields", "dataclass-args", "typed-dict"):
            return
        if schema["type"] == "definition-ref":
            schema = definitions[schema["schema_ref"]]
        elif isinstance(schema.get("schema"), Mapping):
            schema = schema["schema"]
        else:
            return


def _field(
    name: str, field: Mapping[str, Any], by_name: bool, definitions: Mapping[str, Mapping[str, Any]]
) -> ModelField:
    alias = field.get("validation_alias")
    names = list(_outer_names(alias))
    if alias is None or by_name:
        names.append(name)
    is_required = field.get("required", True) and field["schema"]["type"] != "default"
    wants_decimal = any(each["type"] == "decimal" for each in _parts(field["schema"], definitions, set()))
    return ModelField(
        name,
        tuple(dict.fromkeys(names)),
        is_required,
        wants_decimal,
        is_path=isinstance(alias, list),
        is_dumped=not field.get("serialization_exclude"),
        kind=_cell_kind(field["schema"], definitions),
    )


_WRAPPERS = frozenset({"default", "nullable", "function-before", "function-after", "function-wrap", "definitions"})


def _cell_kind(schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> CellKind | None:
    """What a text for the field has to be, if it can be one thing only."""
    while schema["type"] in _WRAPPERS or schema["type"] == "definition-ref":
        schema = definitions.get(schema["schema_ref"], {"type": "any"}) if "schema_ref" in schema else schema["schema"]
    if schema["type"] == "chain":
        return _cell_kind(schema["steps"][0], definitions)
    if schema["type"] == "union":
        choices = [each[0] if isinstance(each, tuple) else each for each in schema["choices"]]
        kinds = {_cell_kind(each, definitions) for each in choices if each["type"] != "none"}
        return kinds.pop() if len(kinds) == 1 else None
    kind: CellKind | None = schema["type"] if schema["type"] in get_args(CellKind) else None
    return kind


def _outer_names(alias: Any) -> Iterator[str]:
    """An alias is a name, a path that begins with one, or several paths."""
    if isinstance(alias, str):
        yield alias
    elif alias and isinstance(alias[0], list):
        for path in alias:
            yield from _outer_names(path)
    elif alias and isinstance(alias[0], str):
        yield alias[0]


def _parts(schema: Any, definitions: Mapping[str, Mapping[str, Any]], seen: set[str]) -> Iterator[Mapping[str, Any]]:
    """The schema and all that is in it; each definition once, for models may hold themselves."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("type"), str):
            yield schema
        reference = schema.get("schema_ref")
        if reference is not None and reference not in seen:
            seen.add(reference)
            yield from _parts(definitions.get(reference), definitions, seen)
        inner: Any = schema.values()
    elif isinstance(schema, list | tuple):
        inner = schema
    else:
        return
    for each in inner:
        if isinstance(each, Mapping | list | tuple):
            yield from _parts(each, definitions, seen)


def is_refusal_of_pydantic(error: BaseException) -> bool:
    """Whether it is a ValidationError; asks nothing of pydantic where nobody uses it."""
    core = sys.modules.get("pydantic_core")
    return core is not None and isinstance(error, core.ValidationError)


def invalid_row(error: Any) -> InvalidRow:
    """A ValidationError of a model that a processor has used by itself; see `Refusals`."""
    return _refusals_by_title(error.title).row(error)


class Refusals:
    """Puts into words what one model says of items."""

    def __init__(self, core_schema: Mapping[str, Any] | None) -> None:
        """
        Args:
            core_schema: of the model, which says what of a path are its fields and what are keys of the item; None if
                nobody knows.
        """
        self._core_schema = core_schema
        self._places: dict[tuple[str | int, ...], tuple[str, bool]] = {}

    def row(self, error: Any) -> InvalidRow:
        """A ValidationError in words that hold no value of the item."""
        found: dict[tuple[str, str], ModelFault] = {}
        for entry in error.errors(include_url=False):
            field, is_union = self._place(entry)
            said: str = entry["type"]
            kind = "union" if is_union else _KINDS_AS_ONE.get(said, said)
            raised = (entry.get("ctx") or {}).get("error")
            if not isinstance(raised, BaseException):
                raised = None
            fault = ModelFault(field, kind, _problem(entry, field), raised, said == "missing", entry["input"])
            # Two rules of one validator are of one kind.
            found.setdefault((field, kind if raised is None else f"{kind} {len(found)}"), fault)
        return InvalidRow.of(tuple(found.values()))

    def _place(self, entry: Mapping[str, Any]) -> tuple[str, bool]:
        """The field that it is about, and whether it ends at a union; remembered, for thousands of items fail alike."""
        location: tuple[str | int, ...] = entry["loc"]
        known = self._places.get(location)
        if known is not None:
            return known
        path, is_union = field_path(location, self._core_schema)
        if entry["type"] == "extra_forbidden":
            return ".".join((*path[:-1], str(location[-1]))), is_union
        place = ".".join(path) or "row", is_union
        if len(self._places) < _MAX_PLACES:  # of a list, or of keys that items choose, there are ever new ones
            self._places[location] = place
        return place


class ModelFault(NamedTuple):
    """One thing that a model says of an item.

    Attributes:
        raised: what a validator of the team's raised.
        is_missing: there is no value.
    """

    field: str
    kind: str
    problem: str
    raised: BaseException | None
    is_missing: bool
    value: Any


# Ways in which a text can fail to be one thing.
_KINDS_AS_ONE = {"date_from_datetime_parsing": "date_parsing", "datetime_from_date_parsing": "datetime_parsing"}


def field_path(location: Sequence[str | int], schema: Mapping[str, Any] | None) -> tuple[tuple[str, ...], bool]:
    """A place within a model, with `*` for keys and positions that the item has chosen, and whether it ends at a union.

    What is within a union is left out: that no member fits is one fault.
    """
    if schema is None:
        return tuple("*" if isinstance(part, int) else part for part in location), False
    definitions: dict[str, Mapping[str, Any]] = {}
    path: list[str] = []
    here: Mapping[str, Any] = schema
    for part in location:
        here = _unwrapped(here, definitions)
        match here.get("type"):
            case "model-fields" | "typed-dict" | "dataclass-args":
                fields = here.get("fields", ())
                known = fields.items() if isinstance(fields, Mapping) else [(each["name"], each) for each in fields]
                field = next((each for name, each in known if part == name or part in _alias_parts(each)), None)
                path.append(str(part))
                here = {} if field is None else field["schema"]
            case "dict":
                path.append("*")
                here = here.get("values_schema") or {}
            case "tuple":
                items = here.get("items_schema") or ()
                is_fixed = isinstance(part, int) and part < len(items) and part != here.get("variadic_item_index")
                path.append(str(part) if is_fixed else "*")
                here = items[min(int(part), len(items) - 1)] if items and isinstance(part, int) else {}
            case "union":
                return tuple(path), True
            case "tagged-union":
                path.append(str(part))
                choice = (here.get("choices") or {}).get(part)
                here = choice if isinstance(choice, Mapping) else {}
            case _:
                path.append(part if isinstance(part, str) and not here else "*")
                items = here.get("items_schema")
                here = items if isinstance(items, Mapping) else {}
    return tuple(path), False


def _alias_parts(field: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_outer_names(field.get("validation_alias")))


def _unwrapped(schema: Mapping[str, Any], definitions: dict[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """What is within validators, defaults and the like."""
    while True:
        for each in schema.get("definitions", ()):
            definitions[each["ref"]] = each
        if schema.get("type") == "definition-ref":
            schema = definitions.get(schema["schema_ref"], {})
        elif schema.get("type") in ("lax-or-strict", "json-or-python"):
            schema = schema.get("lax_schema") or schema.get("python_schema") or {}
        elif schema.get("type") == "chain":
            schema = schema["steps"][-1] if schema.get("steps") else {}
        elif isinstance(schema.get("schema"), Mapping):
            schema = schema["schema"]
        else:
            return schema


@lru_cache(maxsize=64)
def _refusals_by_title(title: str) -> Refusals:
    pydantic = sys.modules.get("pydantic")
    waiting = [] if pydantic is None else list(pydantic.BaseModel.__subclasses__())
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if title in (model.__name__, model.model_config.get("title")):
            return Refusals(model.__pydantic_core_schema__)
    return Refusals(None)


def _problem(entry: Mapping[str, Any], field: str) -> str:
    message: str = entry["msg"]
    if entry["type"] in _kinds_of_pydantic():
        return _QUOTED_INPUT.sub("…", message) if "found" in message else message
    # A validator of the team's said this, and perhaps of what.
    value = entry["input"]
    for name, said in (entry.get("ctx") or {}).items():
        if not isinstance(said, BaseException) and str(said):
            message = message.replace(str(said), f"{{{name}}}")
    return without_values(message, value if isinstance(value, dict | list) else {field.rpartition(".")[2]: value})


@cache
def _kinds_of_pydantic() -> frozenset[str]:
    from pydantic_core.core_schema import ErrorType

    return frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
