"""What a request to reprocess says: the same for Python, the command line and Dagster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from reliable_imports.errors import ConfigurationError
from reliable_imports.items.given import as_numbers, require_idempotency_key, require_texts
from reliable_imports.items.json_check import shortened
from reliable_imports.statuses import Word

_NUMBERS = ("max_attempts", "limit", "from_item", "to_item", "canary")

Correct: TypeAlias = Callable[[Any], Any]
"""Takes an item's data, and returns the data that it should have; None leaves it alone."""


@dataclass(frozen=True, slots=True)
class SetFields:
    """Corrects items by constants: a `Correct` for `ReprocessRequest.corrections`.

    Attributes:
        fields: values by the names of fields; an item that is no object is left alone.
    """

    fields: Mapping[str, Any]

    exact = True
    """It is given numbers as they are stored, and gives them back so."""

    @classmethod
    def of(cls, given: Sequence[str]) -> SetFields:
        """From texts such as `country=DE`; a value is JSON, or else a text.

        Raises:
            ConfigurationError: one of them sets nothing, or a field twice.
        """
        from reliable_imports.items.json_read import loads  # who makes no request does without it

        fields: dict[str, Any] = {}
        for each in given:
            name, equals, text = each.partition("=")
            if not equals or not name or name in fields:
                what = "sets a field twice" if name in fields else "sets nothing; write FIELD=VALUE"
                raise ConfigurationError(f"{each!r} {what}")
            try:
                fields[name] = loads(text, decimals=True)
            except ValueError:
                fields[name] = text
        return cls(fields)

    def __str__(self) -> str:
        """The names alone: the values may be anybody's."""
        return f"constants for {', '.join(map(shortened, self.fields))}"

    def __call__(self, data: Any) -> Any:
        return {**data, **self.fields} if isinstance(data, dict) else None


class WhichItems(Word):
    """Which items of a lineage are run again.

    Attributes:
        OUTSTANDING: failed items that no later item repeats, and what a cancelled batch left undone.
        FAILED: of these, only what failed.
        RETRYABLE: of these, only failures that another try may cure, whether their back-off is over or not.
        DUE: of these, only those whose back-off is over.
        PERMANENT: failures that no back-off will cure.
        RESOLVED_REFERENCES: failures of a foreign key whose missing row is there now. An item that was tried more than
            once rests for a minute first, doubled with every try.
        ALL: the latest repeat of every item that has an end, completed and skipped ones too.
    """

    OUTSTANDING = "outstanding"
    FAILED = "failed"
    RETRYABLE = "retryable"
    DUE = "due"
    PERMANENT = "permanent"
    RESOLVED_REFERENCES = "resolved_references"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReprocessRequest:
    """Which items of a batch's lineage are run again, and who asks.

    Every field narrows what *which* names; one that is left out narrows nothing.

    Attributes:
        which: the items that are meant; also by its value, such as `"due"`.
        reasons: only failures for one of these reasons, by their ids as `failure_reasons` gives them, or by the
            beginnings of these.
        exclude_reasons: no failures for these reasons.
        max_attempts: only failures with fewer attempts.
        since: only what failed at this moment or later.
        changed: only what failed under another version of the processor's code than it has now.
        limit: at most so many items, the first ones.
        from_item, to_item: only these items, numbered as in the first batch of the lineage, both included.
        overwrite_newer: an old item may overwrite what a newer one has written under the same key; else it is skipped.
        canary: so many items for each reason are processed first. Where all of them fail for it again, its other items
            are left alone and stay outstanding; the batch's `warnings` tell. The rest is taken into the same batch.
        hold: the new batch waits: only `process_batch` begins it, and no sensor does.
        skip: why the items are given up. They are not processed: the new batch skips them for this reason and is closed
            at once, and they are outstanding no more.
        corrections: what the items should hold. A mapping by item, as `(batch_id, item_number)` or `"4/17"`, says which
            ones are taken: all of them, or none. A callable is given the data of each item that was asked for, and
            returns what it should be, or None. Only what is changed by it is taken. The items that failed stay as they
            are; their repeats have the data.
        corrected_from: where the corrections come from, such as a file; kept with the new batch.
        idempotency_key: names the request: a second one with the same key gets the batch of the first. It is needed
            with `WhichItems.ALL` alone, which otherwise repeats as often as it is asked.
        requested_by: who asks; kept with the new batch.
        note: why; kept with the new batch.
    """

    which: WhichItems = WhichItems.OUTSTANDING
    reasons: Sequence[str] | None = None
    exclude_reasons: Sequence[str] = ()
    max_attempts: int | None = None
    since: datetime | None = None
    changed: bool = False
    limit: int | None = None
    from_item: int | None = None
    to_item: int | None = None
    overwrite_newer: bool = False
    canary: int | None = None
    hold: bool = False
    skip: str | None = None
    corrections: Mapping[Any, Any] | Correct | None = field(default=None, repr=False)
    corrected_from: str | None = None
    idempotency_key: str | None = None
    requested_by: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        """
        Raises:
            ConfigurationError: the request contradicts itself, or the database cannot keep one of its texts.
        """
        try:
            object.__setattr__(self, "which", WhichItems(self.which))
        except ValueError:
            known = ", ".join(WhichItems)
            raise ConfigurationError(
                f"there are no {self.which!r} items to reprocess; which is one of {known}"
            ) from None
        for name in ("reasons", "exclude_reasons"):
            reasons = getattr(self, name)
            if isinstance(reasons, str):
                raise ConfigurationError(f"{name} is one text; give a list of the ids of reasons")
            if reasons is not None:
                object.__setattr__(self, name, tuple(reasons))
        for reason in self.reasons or ():
            require_texts(reasons=reason)
        for reason in self.exclude_reasons:
            require_texts(exclude_reasons=reason)
        require_texts(requested_by=self.requested_by, note=self.note, skip=self.skip)
        require_texts(corrected_from=self.corrected_from)
        require_idempotency_key(self.idempotency_key)
        for name in ("from_item", "to_item"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ConfigurationError(f"{name} is {number}, and the items of a batch are numbered from 1")
        if self.max_attempts is not None and self.max_attempts < 1:
            raise ConfigurationError(f"max_attempts is {self.max_attempts}, and whatever failed has had one attempt")
        if self.from_item is not None and self.to_item is not None and self.from_item > self.to_item:
            raise ConfigurationError(f"from_item {self.from_item} comes after to_item {self.to_item}")
        if self.since is not None and self.since.tzinfo is None:
            raise ConfigurationError(f"since {self.since} has no time zone, and could be any of a day's moments")
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit is {self.limit}, and no batch has fewer items than one")
        if self.skip is not None and not self.skip.strip():
            raise ConfigurationError("skip is empty; say why the items are given up")
        if self.canary is not None and self.canary < 1:
            raise ConfigurationError(f"canary is {self.canary}, and at least one item of each reason has to be tried")
        if self.canary is not None and self.skip is not None:
            raise ConfigurationError("canary and skip exclude each other: what is skipped is not processed")
        if self.skip is not None and self.hold:
            raise ConfigurationError("hold and skip exclude each other: what is skipped is done at once")
        for name, number in as_numbers({name: getattr(self, name) for name in _NUMBERS}).items():
            object.__setattr__(self, name, number)
        self._check_corrections()
        if self.which is WhichItems.ALL:
            self._refuse_what_chooses_failures()

    def _check_corrections(self) -> None:
        if self.corrections is None:
            if self.corrected_from is not None:
                raise ConfigurationError("corrected_from says where corrections come from, and there are none")
            return
        if not isinstance(self.corrections, Mapping) and not callable(self.corrections):
            raise ConfigurationError(
                f"corrections is a {type(self.corrections).__name__}; give a mapping of items to data, or a callable"
            )
        refused = {
            "canary": self.canary is not None,
            "skip": self.skip is not None,
            "which": self.which is WhichItems.ALL,
        }
        if isinstance(self.corrections, Mapping):
            # They say which items are meant.
            refused |= {
                "reasons": self.reasons is not None,
                "exclude_reasons": bool(self.exclude_reasons),
                "max_attempts": self.max_attempts is not None,
                "since": self.since is not None,
                "changed": self.changed,
                "limit": self.limit is not None,
                "from_item": self.from_item is not None,
                "to_item": self.to_item is not None,
                "which": self.which not in (WhichItems.OUTSTANDING, WhichItems.FAILED),
            }
        if given := [name for name, is_given in refused.items() if is_given]:
            raise ConfigurationError(f"corrections and {' and '.join(given)} exclude each other")

    def _refuse_what_chooses_failures(self) -> None:
        narrowed = {
            "reasons": self.reasons is not None,
            "exclude_reasons": bool(self.exclude_reasons),
            "max_attempts": self.max_attempts is not None,
            "since": self.since is not None,
            "changed": self.changed,
            "canary": self.canary is not None,
            "skip": self.skip is not None,
        }
        if any(narrowed.values()):
            given = ", ".join(name for name, is_given in narrowed.items() if is_given)
            raise ConfigurationError(
                f"all items were asked for, completed ones too, and cannot be narrowed by {given}, which choose among "
                "failures; leave one of them out, or choose by from_item and to_item"
            )
