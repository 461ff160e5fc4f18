"""The most common import, declared: check the row against a model, then upsert it into a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
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

    key: ClassVar[Sequence[str] | str | UniqueIndex]
    """The columns of a unique index or constraint of the table, or `UniqueIndex("its_name")`: a row with the same key
    is updated. Empty: every row is inserted."""

    model: ClassVar[type]
    """A pydantic model or a dataclass. Its fields are the columns; where the source has another name, an alias."""

    columns: ClassVar[Mapping[str, str]] = {}
    """The column of a field, where that has another name: `{"order_no": "Order No."}`."""

    existing: ClassVar[Existing] = "update"
    """What becomes of a row that is there already: `update` where it differs, `rewrite` in any case (for triggers), or
    `keep`, and the item is skipped."""

    never_updated: ClassVar[Sequence[str]] = ()
    """Columns that are written when a row is inserted, and never again, such as `created_at`."""

    null_keys: ClassVar[NullKeys] = "fail"
    """A row with NULL in its key equals no other row: `fail` it, or `insert` it with every delivery. An index with
    NULLS NOT DISTINCT takes such rows as it takes others."""

    _model: ClassVar[_Model | None] = None
    _requests: ClassVar[dict[tuple[tuple[str, ...], tuple[str, ...]], WriteRequest]]
    _last_kind: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    _last_key: tuple[str, ...] = ()
    _last_request: WriteRequest
    _defaulted: tuple[str, ...] = ()
    """Columns of the row that is made now that the source did not give."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._model = None
        cls._requests = {}
        if cls.existing == "keep" and "duplicates" not in cls.__dict__:
            cls.duplicates = "first_wins"  # the later rows of a key would be kept out anyway

    @classmethod
    def missing_parts(cls) -> list[str]:
        return [*super().missing_parts(), *[name for name in ("table", "key", "model") if not hasattr(cls, name)]]

    @classmethod
    def key_columns(cls) -> tuple[str, ...]:
        """The columns that say which row it is; none where `key` names an index and no columns."""
        key = cls.key
        if isinstance(key, UniqueIndex):
            return key.columns
        return (key,) if isinstance(key, str) else tuple(key)

    @classmethod
    def source_fields(cls) -> Sequence[ModelField]:
        return cls._load_model().fields

    @classmethod
    def natural_key_names(cls) -> tuple[tuple[str, ...], ...]:
        """The key's fields, unless another natural key is declared, or code may make the key of something else."""
        if any("natural_key" in base.__dict__ for base in cls.__mro__ if base is not BaseProcessor):
            return super().natural_key_names()
        model = cls._load_model()
        if model.may_change_fields or cls._makes_rows_itself():
            return ()
        fields = {cls.columns.get(field.name, field.name): field for field in model.fields}
        columns = cls.key_columns()
        if not columns or any(column not in fields or fields[column].is_path for column in columns):
            return ()
        return tuple(fields[column].source_names for column in columns)

    @classmethod
    def exact_numbers(cls) -> frozenset[str]:
        return frozenset(
            name for field in cls._load_model().fields if field.wants_decimal for name in field.source_names
        )

    @classmethod
    def write_requests(cls) -> Sequence[WriteRequest]:
        columns = dict.fromkeys(cls.key_columns())
        if not cls._makes_rows_itself():
            model = cls._load_model()
            columns.update(dict.fromkeys(cls.columns.get(f.name, f.name) for f in model.fields if f.is_dumped))
        if not columns:
            return ()
        return [cls._request(tuple(columns), ())]

    @classmethod
    def _makes_rows_itself(cls) -> bool:
        return cls.to_row is not TableProcessor.to_row or cls.process_item is not TableProcessor.process_item

    @classmethod
    def _request(cls, columns: tuple[str, ...], defaulted: tuple[str, ...]) -> WriteRequest:
        key = cls.key
        return WriteRequest(
            cls.table,
            columns,
            key if isinstance(key, UniqueIndex) else cls.key_columns() or None,
            cls.existing,
            tuple(cls.never_updated),
            cls.null_keys,
            defaulted,
        )

    @classmethod
    def other_columns(cls) -> OtherColumns:
        own = cls._load_model().other_columns
        is_code = any(getattr(cls, name) is not getattr(TableProcessor, name) for name in _METHODS_THAT_READ)
        return "perhaps" if own == "unread" and is_code else own

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        """The row to upsert, by column. Override it to change or add columns.

        Raises:
            InvalidRow: the item does not fit the model.
        """
        model = self._model or self._load_model()
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
        for field in (self._model or self._load_model()).fields:
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
            request = self._requests.get(kind)
            if request is None:
                if len(self._requests) >= _MAX_REQUESTS:
                    self._requests.clear()
                request = self._requests[kind] = self._request(*kind)
            self._last_request = request
            self._last_key = self.key_columns()
        ctx._write(self._last_request, row)
        key = self._last_key
        if len(key) == 1:
            return {"target_table": self.table, "target_id": as_parameter(row[key[0]])}
        if not key:
            return {"target_table": self.table}
        return {"target_table": self.table, "target_id": [as_parameter(row[column]) for column in key]}

    @classmethod
    def _load_model(cls) -> _Model:
        if cls._model is not None:
            return cls._model
        from pydantic import TypeAdapter, ValidationError

        adapter: TypeAdapter[Any] = TypeAdapter(cls.model)
        # Before pydantic 2.11 the serializer goes by alias unless it is told, and the columns are the fields.
        dump = partial(adapter.serializer.to_python, by_alias=False)
        schema = adapter.core_schema
        cls._model = _Model(
            adapter.validator.validate_python,
            dump,
            ValidationError,
            schema,
            fields_of(schema),
            may_change_fields(schema),
            other_columns_of(schema),
        )
        return cls._model
