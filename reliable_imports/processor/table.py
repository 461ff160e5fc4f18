"""The most common import, declared: check the row against a model, then upsert it into a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from reliable_imports.items.model_fields import (
    ModelField,
    OtherColumns,
    fields_of,
    invalid_row,
    may_change_fields,
    other_columns_of,
)
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import Facts
from reliable_imports.writes.plan import Existing, NullKeys, UniqueIndex, WriteRequest
from reliable_imports.writes.values import as_parameter

if TYPE_CHECKING:
    from reliable_imports.models import ImportBatchItem
    from reliable_imports.processor.context import ImportContext


_MAX_REQUESTS = 500
"""Of a source whose items have now these fields and now those, every item may make one of its own."""

_METHODS_THAT_READ = ("to_row", "validate_item", "prepare_item", "process_item")


class _Model(NamedTuple):
    """What is asked of pydantic for each item, without the adapter around it, which costs as much again."""

    validate: Callable[[Any], Any]
    dump: Callable[[Any], dict[str, Any]]
    refusal: type[Exception]
    schema: Mapping[str, Any]
    fields: tuple[ModelField, ...]
    may_change_fields: bool
    """A validator of the whole model may make one field of several."""
    other_columns: OtherColumns


class TableFacts(Facts):
    """What is known of a TableProcessor: also its model and its key."""

    processor: type[TableProcessor]

    def __init__(self, processor: type[TableProcessor]) -> None:
        super().__init__(processor)
        self._requests: dict[tuple[tuple[str, ...], tuple[str, ...]], WriteRequest] = {}

    @cached_property
    def model(self) -> _Model:
        """The declared model, as pydantic reads it. Raises whatever pydantic, or code in the model, raises."""
        from pydantic import TypeAdapter, ValidationError

        adapter: TypeAdapter[Any] = TypeAdapter(self.processor.model)
        # Before pydantic 2.11 the serializer goes by alias unless it is told, and the columns are the fields.
        dump = partial(adapter.serializer.to_python, by_alias=False)
        schema = adapter.core_schema
        return _Model(
            adapter.validator.validate_python,
            dump,
            ValidationError,
            schema,
            fields_of(schema),
            may_change_fields(schema),
            other_columns_of(schema),
        )

    def missing_parts(self) -> list[str]:
        required = ("table", "key", "model")
        return [*super().missing_parts(), *[name for name in required if not hasattr(self.processor, name)]]

    def source_fields(self) -> Sequence[ModelField]:
        return self.model.fields

    def natural_key_names(self) -> tuple[tuple[str, ...], ...]:
        """The key's fields, unless another natural key is declared, or code may make the key of something else."""
        if any("natural_key" in base.__dict__ for base in self.processor.__mro__ if base is not BaseProcessor):
            return super().natural_key_names()
        if self.model.may_change_fields or self._makes_rows_itself():
            return ()
        fields = {self.processor.columns.get(field.name, field.name): field for field in self.model.fields}
        columns = self.processor.key_columns()
        if not columns or any(column not in fields or fields[column].is_path for column in columns):
            return ()
        return tuple(fields[column].source_names for column in columns)

    def sensitive_names(self) -> frozenset[str]:
        named = super().sensitive_names()
        found = set(named)
        for field in self.model.fields if named else ():
            names = {*field.source_names, field.name, self.processor.columns.get(field.name, field.name)}
            if names & named:
                found |= names
        return frozenset(found)

    def exact_numbers(self) -> frozenset[str]:
        return frozenset(name for field in self.model.fields if field.wants_decimal for name in field.source_names)

    def write_requests(self) -> Sequence[WriteRequest]:
        columns = dict.fromkeys(self.processor.key_columns())
        if not self._makes_rows_itself():
            names = self.processor.columns
            columns.update(dict.fromkeys(names.get(f.name, f.name) for f in self.model.fields if f.is_dumped))
        return [self.request(tuple(columns), ())] if columns else ()

    def other_columns(self) -> OtherColumns:
        own = self.model.other_columns
        is_code = any(self._is_overridden(name) for name in _METHODS_THAT_READ)
        return "perhaps" if own == "unread" and is_code else own

    def request(self, columns: tuple[str, ...], defaulted: tuple[str, ...]) -> WriteRequest:
        """The write of a row with these columns.

        Args:
            defaulted: those of them that the source did not give.
        """
        known = self._requests.get((columns, defaulted))
        if known is not None:
            return known
        if len(self._requests) >= _MAX_REQUESTS:
            self._requests.clear()
        processor = self.processor
        request = self._requests[columns, defaulted] = WriteRequest(
            processor.table,
            columns,
            processor.key if isinstance(processor.key, UniqueIndex) else self.processor.key_columns() or None,
            processor.existing,
            tuple(processor.never_updated),
            processor.null_keys,
            defaulted,
        )
        return request

    def _makes_rows_itself(self) -> bool:
        return self._is_overridden("to_row") or self._is_overridden("process_item")

    def _is_overridden(self, method: str) -> bool:
        return getattr(self.processor, method) is not getattr(TableProcessor, method)


class TableProcessor(BaseProcessor):
    """Declare `table`, `key` and `model`; nothing else is needed.

        class AirlinesProcessor(TableProcessor):
            table = "example.airlines"
            key = ("carrier",)
            model = Airline

    An item that does not fit the model fails at stage `validate` with the problems of all its fields at once.

    A field that the source does not have is not written: its column keeps its value, or takes its default. A default
    of the model other than None is written when the row is inserted, if the column has no default of its own.
    """

    table: ClassVar[str]
    """`name` or `schema.name` of the target; a name with a dot in quotes, as in SQL: `sales."q1.2024"`."""

    key: ClassVar[Sequence[str] | str | UniqueIndex | None] = None
    """The columns of a unique index or constraint of the table, or `UniqueIndex("its_name")`: a row with the same key
    is updated. Empty, `()`: every row is inserted. None: the primary key, or if that is generated, the one other unique
    index."""

    model: ClassVar[type | None] = None
    """A pydantic model or a dataclass, for checks that the table does not make. Its fields are the columns. None: the
    table's columns, with their types, are what an item is checked against."""

    existing: ClassVar[Existing] = "update"
    """What becomes of a row that is there already: `update` where it differs, `rewrite` in any case (for triggers), or
    `keep`, and the item is skipped."""

    never_updated: ClassVar[Sequence[str]] = ()
    """Columns that are written when a row is inserted, and never again, such as `created_at`."""

    null_keys: ClassVar[NullKeys] = "fail"
    """A row with NULL in its key equals no other row: `fail` it, or `insert` it with every delivery. An index with
    NULLS NOT DISTINCT takes such rows as it takes others."""

    _kind_of_facts = TableFacts
    _facts: ClassVar[TableFacts]
    _last_kind: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    _last_key: tuple[str, ...] = ()
    _last_request: WriteRequest
    _defaulted: tuple[str, ...] = ()
    """Columns of the row that is made now that the source did not give."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.existing == "keep" and "duplicates" not in cls.__dict__:
            cls.duplicates = "first_wins"  # the later rows of a key would be kept out anyway

    @classmethod
    def key_columns(cls) -> tuple[str, ...]:
        """The columns that say which row it is; none where `key` names an index and no columns."""
        if isinstance(cls.key, UniqueIndex):
            return cls.key.columns
        return (cls.key,) if isinstance(cls.key, str) else tuple(cls.key)

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        """The row to upsert, by column. Override it to change or add columns.

        Raises:
            InvalidRow: the item does not fit the model.
        """
        model = self._facts.model
        try:
            instance = model.validate(item.source_data)
        except model.refusal as error:
            raise invalid_row(error, model.schema) from None
        row = model.dump(instance)
        given = getattr(instance, "model_fields_set", None)
        if given is None or len(given) < len(model.fields):
            self._leave_out_absent(row, given, item.source_data)
        if self.columns:
            row = {self.columns.get(name, name): value for name, value in row.items()}
        return row

    def _leave_out_absent(self, row: dict[str, Any], given: set[str] | None, source_data: Any) -> None:
        """Take fields out of the row that the source did not have; note those that the model has a value for."""
        defaulted = []
        for field in self._facts.model.fields:
            name = field.name
            is_given = name in given if given is not None else any(each in source_data for each in field.source_names)
            if is_given or name not in row:
                continue
            if row[name] is None:
                del row[name]
            else:
                defaulted.append(self.columns.get(name, name))
        self._defaulted = tuple(defaulted)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        self._defaulted = ()
        row = self.to_row(item)
        kind = (tuple(row), self._defaulted)
        if kind != self._last_kind:  # most rows are of the kind of the one before
            self._last_kind = kind
            self._last_request = self._facts.request(*kind)
            self._last_key = self.key_columns()
        ctx._write(self._last_request, row)
        key = self._last_key
        if len(key) == 1:
            return {"target_table": self.table, "target_id": as_parameter(row[key[0]])}
        if not key:
            return {"target_table": self.table}
        return {"target_table": self.table, "target_id": [as_parameter(row[column]) for column in key]}
