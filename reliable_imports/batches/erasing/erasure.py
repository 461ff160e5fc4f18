"""Whose data is to be erased, by the key of their items, and what was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_check import is_utf8
from reliable_imports.processor.facts import Facts
from reliable_imports.processor.table import TableFacts


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased, or would be.

    Attributes:
        batch_types: the types whose batches were looked at.
        items: how many items of which batches, by the batch's id; every repeat of an item counts.
        alike: items that were left: their key differs only in capitals or in blanks around it, or they could not be
            read and hold the value somewhere. By batch, too.
        texts: texts of batches, runs, reasons and other items that named the person, and were cut.
        types: of the batches in *items* and *alike*, by their ids.
        left_out: types with batches that were not looked at, and why, where no type was named.
    """

    batch_types: Sequence[str]
    items: Mapping[int, int] = field(default_factory=dict)
    alike: Mapping[int, int] = field(default_factory=dict)
    texts: int = 0
    types: Mapping[int, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def total_items(self) -> int:
        """Items in all batches together."""
        return sum(self.items.values())


class KeyPart(NamedTuple):
    """A value of the key, and the names under which a source may give it."""

    names: tuple[str, ...]
    value: str


@dataclass(frozen=True, slots=True)
class ErasureKey:
    """Which items are a person's: all whose fields have these values."""

    parts: tuple[KeyPart, ...]
    table: str | None = None
    """The target whose rows have this key, where it is whole; a result names it."""

    @classmethod
    def of(cls, facts: Facts, key: str | Mapping[str, Any]) -> ErasureKey:
        """Read *key* as the processor or its table declares keys: the value of a key of one field, or values by field.

        A name may be that of a field, of a column of the target, or of the source. A part of a key finds all items that
        have it; where no key is declared, any field of the items can be named.

        Raises:
            ConfigurationError: the processor has no such field, or no key that a bare value could be of.
        """
        processor = facts.processor
        known = cls.names(facts)
        declared = facts.natural_key_names()
        columns = facts.key_columns() if isinstance(facts, TableFacts) else ()
        if isinstance(key, str):
            only = declared or tuple(known[column] for column in columns if column in known)
            if len(only) != 1:
                named = ", ".join(part[0] for part in only) or "none; name a field of the items, as in email=VALUE"
                raise ConfigurationError(
                    f"a value alone can only be of a key of one field; the key of {processor.batch_type}: {named}"
                )
            given = [KeyPart(only[0], key)]
            labels = set(only[0])
        else:
            given, labels = [], set(key)
            for name, value in key.items():
                if known and name not in known:
                    raise ConfigurationError(
                        f"{processor.batch_type} has no field {name!r} to erase by; it has {', '.join(known)}"
                    )
                given.append(KeyPart(known.get(name, (name,)), str(value)))
        if not given or any(not part.value.strip() for part in given):
            raise ConfigurationError("an empty key would name nobody; give the value that the person has")
        for part in given:
            if "\0" in part.value or not is_utf8(part.value):
                raise ConfigurationError("the key holds what no text of the database can hold")
        is_whole = bool(columns) and all(
            any(label in labels for label in (column, *known.get(column, ()))) for column in columns
        )
        ordered = [part for column in columns for part in given if part.names == known.get(column)]
        table = None
        if is_whole and len(ordered) == len(columns):
            table = processor.table
        return cls(tuple(ordered if table else given), table)

    @staticmethod
    def names(facts: Facts) -> dict[str, tuple[str, ...]]:
        """What can be named, with the names that it has in a source; empty where any field can."""
        known: dict[str, tuple[str, ...]] = {}
        for part in facts.natural_key_names():
            known.update(dict.fromkeys(part, part))
        for each in facts.source_fields() or ():
            for name in (each.name, *each.source_names):
                known.setdefault(name, each.source_names)
        return known


def keys_of_all(
    all_facts: Iterable[Facts], stored_types: Iterable[str], key: str | Mapping[str, Any]
) -> tuple[dict[str, ErasureKey], dict[str, str]]:
    """*key* as every type reads it that has its fields; and of the others why they are left out.

    Args:
        stored_types: those that have batches.

    Raises:
        ConfigurationError: the key names no field, or no type has it.
    """
    if isinstance(key, str):
        raise ConfigurationError(
            "a value alone is the key of one type; name the field, as in email=VALUE, or the type whose key it is"
        )
    wanted: dict[str, ErasureKey] = {}
    left_out: dict[str, str] = {}
    known_types: set[str] = set()
    for facts in all_facts:
        batch_type = facts.processor.batch_type
        known_types.add(batch_type)
        known = ErasureKey.names(facts)
        missing = [name for name in key if known and name not in known]
        if missing:
            left_out[batch_type] = f"it declares no field {', '.join(missing)}"
        else:
            wanted[batch_type] = ErasureKey.of(facts, key)
    if not wanted:
        raise ConfigurationError(f"no batch type has the fields {', '.join(key)} to erase by")
    stored = set(stored_types)
    left_out = {batch_type: why for batch_type, why in left_out.items() if batch_type in stored}
    left_out |= dict.fromkeys(sorted(stored - known_types), "no processor of this type is known here")
    return wanted, left_out
