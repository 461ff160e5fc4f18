"""What a processor's class says of itself, for those who work with it; on the class a person finds their own things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reliable_imports.errors import ConfigurationError

if TYPE_CHECKING:
    from reliable_imports.items.model_fields import ModelField, OtherColumns
    from reliable_imports.writes.plan import WriteRequest


class Facts:
    """What is known of any processor. Each class has one, which `facts_of` gives.

    Methods look at the class when they are called, so what it declares may still be changed.
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

    def natural_key_names(self) -> tuple[tuple[str, ...], ...]:
        """For each part of the key by which duplicates within a batch are found: its names in the source."""
        return tuple((name,) for name in self.processor.natural_key)

    def exact_numbers(self) -> frozenset[str]:
        """Names in the source of values whose numbers arrive as Decimal, though `decimals` is not set."""
        return frozenset()

    def write_requests(self) -> Sequence[WriteRequest]:
        """The writes that are known before the first item: what they need of their tables is looked at before it."""
        return ()

    def sensitive_names(self) -> frozenset[str]:
        """The sensitive fields, under all names that they have in the source and in the target."""
        return frozenset(self.processor.sensitive)

    def source_fields(self) -> Sequence[ModelField] | None:
        """The fields that a source should have, as a declared model says; None where nobody can know."""
        return None

    def other_columns(self) -> OtherColumns:
        """What becomes of columns of a source that no field is named for; see `reliable_imports.items.model_fields`."""
        return "perhaps"


def facts_of(processor: type[Any]) -> Facts:
    """The facts of a subclass of BaseProcessor."""
    facts: Facts = processor._facts
    return facts


def require_no_effects(processor: type[Any]) -> None:
    """Raise ConfigurationError if items of the processor do what a try cannot take back."""
    if processor.has_effects:
        raise ConfigurationError(
            f"{processor.__qualname__} says has_effects: its items do something outside the database, which a try "
            "cannot take back; with_effects=True, or --with-effects, tries them all the same"
        )
