"""The most common import, declared: check the row against a model, then upsert it into a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from reliable_imports.errors import InvalidRow, InvalidTarget, UnusableTarget
from reliable_imports.items.cells import Cells
from reliable_imports.items.model_fields import (
    CellKind,
    ModelField,
    OtherColumns,
    Refusals,
    fields_of,
    may_change_fields,
    other_columns_of,
)
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import Facts
from reliable_imports.writes.key_index import check_rivals, choose_key
from reliable_imports.writes.request import Existing, NullKeys, UniqueIndex, WriteRequest
from reliable_imports.writes.target import Target
from reliable_imports.writes.values import as_parameter

if TYPE_CHECKING:
    from reliable_imports.processor.context import ImportContext
    from reliable_imports.processor.item import ImportBatchItem


_MAX_REQUESTS = 500
"""Of a source whose items have now these fields and now those, every item may make one of its own."""

_METHODS_THAT_READ = ("to_row", "validate_item", "prepare_item", "process_item")


class _Model(NamedTuple):
    """What is asked of pydantic for each item, without the adapter around it, which costs as much again."""

    validate: Callable[[Any], Any]
    dump: Callable[[Any], dict[str, Any]]
    refusal: type[Exception]
    refusals: Refusals
    fields: tuple[ModelField, ...]
    may_change_fields: bool
    """A validator of the whole model may make one field of several."""
    other_columns: OtherColumns
    gives_absent: bool
    """Its dump has fields that the item does not have."""


class TableFacts(Facts):
    """What is known of a TableProcessor: also its model and its key, as far as the table does not say them."""

    processor: type[TableProcessor]

    def __init__(
        self, processor: type[TableProcessor], target: Target | None = None, *, texts_are_cells: bool = False
    ) -> None:
        super().__init__(processor)
        self._target = target
        self._texts_are_cells = texts_are_cells
        self._requests: dict[tuple[tuple[str, ...], tuple[str, ...]], WriteRequest] = {}

    def parts_left_open(self) -> list[str]:
        return [name for name in ("key", "model") if getattr(self.processor, name) is None]

    def table_to_read(self) -> str | None:
        leaves_open = self._target is None and (self.processor.model is None or self.processor.key is None)
        return self.processor.table if leaves_open else None

    def with_table(self, target: Target, *, texts_are_cells: bool = False) -> TableFacts:
        facts = TableFacts(self.processor, target, texts_are_cells=texts_are_cells)
        _ = facts.key  # which may be nobody's choice
        return facts

    @cached_property
    def key(self) -> tuple[str, ...] | UniqueIndex:
        """As declared, or as the table says; empty where the table is not known yet."""
        declared = self.processor.key
        if declared is None:
            return () if self._target is None else choose_key(self.processor.table, self._target)
        if isinstance(declared, UniqueIndex):
            return declared
        return (declared,) if isinstance(declared, str) else tuple(declared)

    def key_columns(self) -> tuple[str, ...]:
        """The columns that say which row it is; none where `key` names an index and no columns."""
        return self.key.columns if isinstance(self.key, UniqueIndex) else self.key

    @cached_property
    def model(self) -> _Model:
        """What an item is checked against. Raises whatever pydantic, or code in the model, raises."""
        from pydantic import TypeAdapter, ValidationError

        if self.processor.model is None:
            return self._model_of_table(ValidationError)
        adapter: TypeAdapter[Any] = TypeAdapter(self.processor.model)
        # Before pydantic 2.11 the serializer goes by alias unless it is told, and the columns are the fields.
        dump = partial(adapter.serializer.to_python, by_alias=False)
        schema = adapter.core_schema
        return _Model(
            adapter.validator.validate_python,
            dump,
            ValidationError,
            Refusals(schema),
            fields_of(schema),
            may_change_fields(schema),
            other_columns_of(schema),
            gives_absent=True,
        )

    def _model_of_table(self, refusal: type[Exception]) -> _Model:
        from pydantic_core import SchemaValidator

        from reliable_imports.processor.table_row import row_fields, row_schema

        assert self._target is not None, "the table was not read"
        # What `to_row` adds, no item has to have.
        required = None if self._is_overridden("to_row") else frozenset(self.key_columns())
        schema = row_schema(self._target, required, texts_are_cells=self._texts_are_cells)
        return _Model(
            SchemaValidator(schema).validate_python,
            _unchanged,
            refusal,
            Refusals(schema),
            row_fields(self._target, required),
            may_change_fields=False,
            other_columns="unread",
            gives_absent=False,
        )

    @property
    def _has_model(self) -> bool:
        return self.processor.model is not None or self._target is not None

    def missing_parts(self) -> list[str]:
        return [*super().missing_parts(), *([] if hasattr(self.processor, "table") else ["table"])]

    def source_fields(self) -> Sequence[ModelField] | None:
        if not self._has_model:
            return None
        names = self.spelling.source_names
        return [
            field._replace(source_names=tuple(source for name in field.source_names for source in names(name)))
            for field in self.model.fields
        ]

    def cell_kinds(self) -> Mapping[str, CellKind]:
        fields = self.model.fields if self._has_model else ()
        return {name: field.kind for field in fields if field.kind and not field.is_path for name in field.source_names}

    def refusal_of(self, cells: Cells) -> Exception:
        """All of it at once: what the model says of the other cells, too."""
        model = self.model
        faults = list(cells.faults)
        misread = {fault.field for fault in faults}
        try:
            model.validate(cells.data)
        except model.refusal as error:
            faults += [each for each in model.refusals.row(error).faults if each.field not in misread]
        return InvalidRow.of(faults)

    def natural_key_names(self) -> tuple[tuple[str, ...], ...]:
        """The key's fields, unless another natural key is declared, or code may make the key of something else."""
        if any("natural_key" in base.__dict__ for base in self.processor.__mro__ if base is not BaseProcessor):
            return super().natural_key_names()
        if not self._has_model or self.model.may_change_fields or self._makes_rows_itself():
            return ()
        fields = {field.name: field for field in self.source_fields() or ()}
        columns = self.key_columns()
        if not columns or any(column not in fields or fields[column].is_path for column in columns):
            return ()
        return tuple(fields[column].source_names for column in columns)

    def sensitive_names(self) -> frozenset[str]:
        named = super().sensitive_names()
        found = set(named)
        for field in (self.source_fields() or ()) if named else ():
            names = {*field.source_names, field.name}
            if names & named:
                found |= names
        return frozenset(found)

    def exact_numbers(self) -> frozenset[str]:
        fields = self.model.fields if self._has_model else ()
        return frozenset(name for field in fields if field.wants_decimal for name in field.source_names)

    def write_requests(self) -> Sequence[WriteRequest]:
        columns = dict.fromkeys(self.key_columns())
        if not self._makes_rows_itself() and self.processor.model is not None:
            columns.update(dict.fromkeys(field.name for field in self.model.fields if field.is_dumped))
        return [self.request(tuple(columns), ())] if columns else ()

    def check_names(self, names: Iterable[str]) -> None:
        if self.processor.key is None and self._target is not None:
            renamed = {self.processor.rename.get(name, name) for name in names}
            try:
                check_rivals(self.processor.table, self._target, self.key_columns(), renamed)
            except UnusableTarget as error:
                raise InvalidTarget(self.processor.__qualname__, str(error)) from None

    def said_by(self) -> str:
        return f"table {self.processor.table}" if self.processor.model is None else super().said_by()

    def other_columns(self) -> OtherColumns:
        own = self.model.other_columns
        is_code = any(self._is_overridden(name) for name in _METHODS_THAT_READ)
        return "perhaps" if own == "unread" and is_code else own

    def may_add_columns(self) -> bool:
        # A model is for the item; the table's columns are for the row that is made of it.
        return self.processor.model is None and self._makes_rows_itself()

    def request(self, columns: tuple[str, ...], defaulted: tuple[str, ...]) -> WriteRequest:
        """The write of a row with these columns.

        Args:
            defaulted: those of them that the source did not give.

        Raises:
            UnusableTarget: the key was chosen, and the row has another one as well.
        """
        known = self._requests.get((columns, defaulted))
        if known is not None:
            return known
        if len(self._requests) >= _MAX_REQUESTS:
            self._requests.clear()
        processor = self.processor
        if processor.key is None and self._target is not None:
            check_rivals(processor.table, self._target, self.key_columns(), columns)
        request = self._requests[columns, defaulted] = WriteRequest(
            processor.table,
            columns,
            self.key or None,
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


def _unchanged(row: Any) -> Any:
    return row


class TableProcessor(BaseProcessor):
    """Declare `table`; nothing else is needed.

        class AirlinesProcessor(TableProcessor):
            table = "example.airlines"

    The table says which columns there are, of which types, and which are the key; a `model` can say more. An item that
    does not fit fails at stage `validate` with the problems of all its fields at once.

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
    _facts: TableFacts  # of the class; an instance that works a batch has one of its own
    _last_kind: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    _last_key: tuple[str, ...] = ()
    _last_request: WriteRequest
    _defaulted: tuple[str, ...] = ()
    """Columns of the row that is made now that the source did not give."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.existing == "keep" and "duplicates" not in cls.__dict__:
            cls.duplicates = "first_wins"  # the later rows of a key would be kept out anyway

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        """The row to upsert, by column. Override it to change or add columns.

        Raises:
            InvalidRow: the item does not fit the model, or the table.
        """
        model = self._facts.model
        try:
            instance = model.validate(item.source_data)
        except model.refusal as error:
            raise model.refusals.row(error) from None
        row = model.dump(instance)
        if model.gives_absent:
            given = getattr(instance, "model_fields_set", None)
            if given is None or len(given) < len(model.fields):
                self._leave_out_absent(row, given, item.source_data)
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
                defaulted.append(name)
        self._defaulted = tuple(defaulted)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        self._defaulted = ()  # of a `to_row` that never asks this one
        row = self.to_row(item)
        kind = (tuple(row), self._defaulted)
        if kind != self._last_kind:  # most rows are of the kind of the one before
            self._last_kind = kind
            self._last_request = self._facts.request(*kind)
            self._last_key = self._facts.key_columns()
        ctx._write(self._last_request, row)
        key = self._last_key
        if len(key) == 1:
            return {"target_table": self.table, "target_id": as_parameter(row[key[0]])}
        if not key:
            return {"target_table": self.table}
        return {"target_table": self.table, "target_id": [as_parameter(row[column]) for column in key]}
