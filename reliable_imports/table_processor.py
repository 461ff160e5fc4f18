"""The most common import, declared: check the row against a model, then upsert it into a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from reliable_imports.errors import InvalidRow
from reliable_imports.processor import BaseProcessor

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from reliable_imports.context import ImportContext
    from reliable_imports.models import ImportBatchItem


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

    _adapter: ClassVar[TypeAdapter[Any] | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._adapter = None

    @classmethod
    def missing_parts(cls) -> list[str]:
        return [*super().missing_parts(), *[name for name in ("table", "key", "model") if not hasattr(cls, name)]]

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        """The row to upsert, by column. Override it to change or add columns.

        Raises:
            InvalidRow: the item does not fit the model.
        """
        adapter = self._adapter or self._make_adapter()
        from pydantic import ValidationError

        try:
            row = adapter.validate_python(item.source_data)
        except ValidationError as error:
            raise _invalid_row(error) from None
        dumped: Mapping[str, Any] = adapter.dump_python(row)
        return dumped

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        row = self.to_row(item)
        key = [self.key] if isinstance(self.key, str) else self.key
        ctx.upsert(self.table, row, key=key)
        values = [row[column] for column in key]
        return {"target_table": self.table, "target_id": values[0] if len(values) == 1 else values}

    @classmethod
    def _make_adapter(cls) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter

        cls._adapter = TypeAdapter(cls.model)
        return cls._adapter


def _invalid_row(error: Any) -> InvalidRow:
    problems: dict[str, str] = {}
    kinds: dict[str, str] = {}
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        # Positions within lists differ from item to item, so the group is named without them.
        field = ".".join(str(part) for part in entry["loc"]) or "row"
        problems.setdefault(field, entry["msg"])
        kinds.setdefault(".".join(part for part in entry["loc"] if isinstance(part, str)) or "row", entry["type"])
    return InvalidRow(problems, kinds)
