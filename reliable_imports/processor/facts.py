"""What a processor's class says of itself, for those who work with it; on the class a person finds their own things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reliable_imports.errors import ConfigurationError, InvalidRow
from reliable_imports.items.cells import Cells, Spelling

if TYPE_CHECKING:
    from typing_extensions import Self

    from reliable_imports.items.model_fields import CellKind, ModelField, OtherColumns
    from reliable_imports.writes.request import WriteRequest
    from reliable_imports.writes.target import Target


class Facts:
    """What is known of any processor. Each class has one, which `facts_of` gives.

    Methods look at the class when they are called, so what it declares may still be changed. Where a table has to be
    looked at besides, those of the class know only what it declares; `with_table` gives the rest.
    """

    def __init__(self, processor: type[Any]) -> None:
        """
        Args:
            processor: a subclass of BaseProcessor, perhaps one that lacks parts.
        """
        self.processor = processor

    def missing_parts(self) -> list[str]:
        """What a subclass must still define before it can be used."""
        return sorted(self.processor.__abstractmethods__)

    def parts_left_open(self) -> list[str]:
        """What a subclass need not define, because its table says it as well."""
        return []

    def table_to_read(self) -> str | None:
        """The table, as the processor calls it, that says what the processor leaves open; None if it leaves nothing."""
        return None

    def with_table(self, target: Target, *, texts_are_cells: bool = False) -> Self:
        """These facts, with what the table says.

        Args:
            texts_are_cells: texts of the items are cells of a format that has nothing else, such as CSV.

        Raises:
            UnusableTarget: it does not say what is asked of it, which key it has.
        """
        raise NotImplementedError

    @property
    def spelling(self) -> Spelling:
        """How the source's cells are written."""
        declared = self.processor
        return Spelling(declared.rename, declared.strip, declared.null_tokens, declared.decimal_comma, declared.dates)

    def cell_kinds(self) -> Mapping[str, CellKind]:
        """What fields of the item are, as far as the way depends on it in which they are written."""
        return {}

    def refusal_of(self, cells: Cells) -> Exception:
        """All that is wrong with an item that has cells which are not written as the processor declares."""
        return InvalidRow.of(cells.faults)

    def natural_key_names(self) -> tuple[tuple[str, ...], ...]:
        """For each part of the key by which duplicates within a batch are found: its names in the source."""
        return tuple(map(self.spelling.source_names, self.processor.natural_key))

    def exact_numbers(self) -> frozenset[str]:
        """Names in the item of values whose numbers arrive as Decimal, though `decimals` is not set."""
        return frozenset()

    def write_requests(self) -> Sequence[WriteRequest]:
        """The writes that are known before the first item: what they need of their tables is looked at before it."""
        return ()

    def sensitive_names(self) -> frozenset[str]:
        """The sensitive fields, under all names that they have in the source and in the target."""
        named = frozenset(self.processor.sensitive)
        rename = self.processor.rename
        new = {rename[name] for name in named if name in rename}
        return named | new | {source for source, name in rename.items() if name in named | new}

    def source_fields(self) -> Sequence[ModelField] | None:
        """The fields that a source should have, as a model or a table says; None where nobody can know."""
        return None

    def source_names(self, name: str) -> Sequence[str]:
        """All names of a field or column, given any of them: the likeliest in the source first."""
        for field in self.source_fields() or ():
            if name == field.name or name in field.source_names:
                return list(dict.fromkeys([*field.source_names, field.name]))
        renamed = self.processor.rename.get(name, name)
        return list(dict.fromkeys([*self.spelling.source_names(renamed), renamed]))

    def check_names(self, names: Iterable[str]) -> None:
        """See that items with these names in the source can be meant.

        Raises:
            InvalidTarget: a key that nobody has declared is not the only one that they have.
        """

    def said_by(self) -> str:
        """Who says which fields there are, within a sentence."""
        return "the model"

    def may_add_columns(self) -> bool:
        """Code of the processor's may give a field that its source does not have."""
        return False

    def other_columns(self) -> OtherColumns:
        """What becomes of columns of a source that no field is named for; see `reliable_imports.items.model_fields`."""
        return "perhaps"


def facts_of(processor: Any) -> Facts:
    """The facts of a subclass of BaseProcessor; or of an instance, which knows its table when it works a batch."""
    facts: Facts = processor._facts
    return facts


def require_no_effects(processor: type[Any]) -> None:
    """Raise ConfigurationError if items of the processor do what a try cannot take back."""
    if processor.has_effects:
        raise ConfigurationError(
            f"{processor.__qualname__} says has_effects: its items do something outside the database, which a try "
            "cannot take back; with_effects=True, or --with-effects, tries them all the same"
        )
