"""The most common import, declared: check the row against a model, then upsert it into a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from reliable_imports.errors import InvalidRow
from reliable_imports.model_fields import ModelField, fields_of
from reliable_imports.processor import BaseProcessor

if TYPE_CHECKING:
    from reliable_imports.context import ImportContext
    from reliable_imports.models import ImportBatchItem


class _Model(NamedTuple):
    """What is asked of pydantic for each item, without the adapter around it, which costs as much again."""

    validate: Callable[[Any], Any]
    dump: Callable[[Any], Mapping[str, Any]]
    refusal: type[Exception]
    fields: tuple[ModelField, ...]


class TableProcessor(BaseProcessor):
    """Declare `table`, `key` and `model`; nothing else is needed.

        class AirlinesProcessor(TableProcessor):
            table = "example.airlines"
            key = ("carrier",)
            model = Airline

    An item that does not fit the model fails at stage `validate` with the problems of all its fields at once.
    """

    table: ClassVar[str]
    """`name` or `schema.name` of the target."""

    key: ClassVar[Sequence[str]]
    """The columns of a unique index or constraint of the table: a row with the same key is updated."""

    model: ClassVar[type]
    """A pydantic model or a dataclass. Its fields are the columns; where the source has another name, an alias."""

    _model: ClassVar[_Model | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._model = None

    @classmethod
    def missing_parts(cls) -> list[str]:
        return [*super().missing_parts(), *[name for name in ("table", "key", "model") if not hasattr(cls, name)]]

    @classmethod
    def source_fields(cls) -> Sequence[ModelField]:
        return (cls._model or cls._load_model()).fields

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        """The row to upsert, by column. Override it to change or add columns.

        Raises:
            InvalidRow: the item does not fit the model.
        """
        model = self._model or self._load_model()
        try:
            row = model.validate(item.source_data)
        except model.refusal as error:
            raise _invalid_row(error) from None
        return model.dump(row)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        row = self.to_row(item)
        key = [self.key] if isinstance(self.key, str) else self.key
        ctx.upsert(self.table, row, key=key)
        values = [row[column] for column in key]
        return {"target_table": self.table, "target_id": values[0] if len(values) == 1 else values}

    @classmethod
    def _load_model(cls) -> _Model:
        from pydantic import TypeAdapter, ValidationError

        adapter: TypeAdapter[Any] = TypeAdapter(cls.model)
        # Before pydantic 2.11 the serializer goes by alias unless it is told, and the columns are the fields.
        dump = partial(adapter.serializer.to_python, by_alias=False)
        fields = fields_of(adapter.core_schema)
        cls._model = _Model(adapter.validator.validate_python, dump, ValidationError, fields)
        return cls._model


def _invalid_row(error: Any) -> InvalidRow:
    problems: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        # Positions within lists differ from item to item, so the group is named without them.
        field = ".".join(str(part) for part in entry["loc"]) or "row"
        problems.setdefault(field, entry["msg"])
        kinds.setdefault(".".join(part for part in entry["loc"] if isinstance(part, str)) or "row", entry["type"])
    return InvalidRow(problems, kinds)
