"""Every error that the package raises on purpose.

    ReliableImportsError
    ├── ConfigurationError        what was asked for cannot be: wrong use, told before anything is touched
    │   ├── UnknownBatchType
    │   ├── UnknownBatch
    │   ├── UnknownReason
    │   ├── AmbiguousReason
    │   ├── BatchFinished
    │   ├── ItemsInUse
    │   ├── InvalidParams
    │   ├── AlreadyImported
    │   ├── IdempotencyKeyTaken
    │   ├── DuplicateBatchType
    │   ├── InvalidProcessor
    │   ├── InvalidTarget
    │   ├── DiscoveryError
    │   ├── InvalidDsn
    │   └── UnsupportedDatabase
    ├── SourceError               the source as a whole is refused, and no batch was made
    │   └── SourceUnavailable     it is out of reach now
    │       └── SourceChanged     it was changed while it was read
    ├── DatabaseError             the database cannot do its part now; nothing was lost
    │   ├── SchemaNotReady
    │   ├── SchemaTooNew
    │   ├── RunInterrupted
    │   ├── SetupFailed
    │   ├── TryEnded
    │   └── EmbeddedServerError
    └── ItemError                 raised by or for a processor; fails one item
        ├── InvalidRow
        ├── ContextMisuse
        ├── UnusableTarget
        ├── NullInKey
        ├── DuplicateKey
        ├── ItemTimeout
        ├── KilledWorker
        └── TransientError        raised by a processor: worth another try later

Errors of psycopg2 about connecting and permission pass through unchanged: they already say what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


class ReliableImportsError(Exception):
    """The base of all; catch it to catch whatever this package raises on purpose."""

    def __reduce__(self) -> Any:
        # As it is, and not made again from its message: it reaches the parent of a process that raised it.
        return _as_it_was, (type(self), self.args, vars(self))


def _as_it_was(
    kind: type[ReliableImportsError], args: tuple[object, ...], attributes: Mapping[str, object]
) -> ReliableImportsError:
    error = kind.__new__(kind, *args)
    vars(error).update(attributes)
    return error


class ConfigurationError(ReliableImportsError):
    """What was asked for cannot be done as asked; nothing was touched."""


class UnknownBatchType(ConfigurationError):
    """No processor has the batch type; the message lists those that are registered."""

    def __init__(self, batch_type: str, registered: Iterable[str]) -> None:
        self.batch_type = batch_type
        self.registered = sorted(registered)
        known = ", ".join(self.registered) or "none; call registry.discover(...) or registry.register(...) first"
        super().__init__(f"no processor for batch type {batch_type!r}; registered: {known}")


class UnknownBatch(ConfigurationError):
    """There is no batch of this id."""

    def __init__(self, batch_id: int) -> None:
        self.batch_id = batch_id
        super().__init__(f"there is no batch {batch_id}; `reliable-imports batches` lists those that exist")


class UnknownReason(ConfigurationError):
    """No item failed for the reason: in the batch's lineage, in batches of the type, or in any."""

    def __init__(self, reason: str, batch_id: int | None = None, batch_type: str | None = None) -> None:
        self.reason = reason
        self.batch_id = batch_id
        self.batch_type = batch_type
        if batch_id is not None:
            about, command = f" of batch {batch_id}", f"failures {batch_id}"
        elif batch_type is not None:
            about, command = f" of batch type {batch_type!r}", f"failures --as {batch_type}"
        else:
            about, command = "", "failures"
        super().__init__(f"no item{about} failed for reason {reason!r}; `reliable-imports {command}` lists the reasons")


class AmbiguousReason(ConfigurationError):
    """What was given begins the ids of several reasons; `reasons` has them whole."""

    def __init__(self, prefix: str, reasons: Sequence[str]) -> None:
        self.prefix = prefix
        self.reasons = list(reasons)
        super().__init__(f"{prefix!r} begins several reasons: {', '.join(reasons)}; give more of the one that is meant")


class BatchFinished(ConfigurationError):
    """The batch has ended, and can neither be paused nor cancelled."""

    def __init__(self, batch_id: int, status: str, wish: str) -> None:
        self.batch_id = batch_id
        self.status = status
        super().__init__(f"batch {batch_id} is {status} and cannot be {wish}; `reliable-imports status {batch_id}`")


class ItemsInUse(ConfigurationError):
    """Items that are to be erased have not ended yet.

    Attributes:
        items: their statuses, by batch and item number.
    """

    def __init__(self, items: Mapping[tuple[int, int], str]) -> None:
        self.items = dict(items)
        named = [f"item {number} of batch {batch} is {status}" for (batch, number), status in self.items.items()]
        more = f", and {len(named) - 5} more" if len(named) > 5 else ""
        batch_id = next(iter(self.items))[0]
        super().__init__(
            f"{', '.join(named[:5])}{more}: nothing was erased; process the batch first, or end it by "
            f"`reliable-imports cancel {batch_id}`"
        )


class InvalidParams(ConfigurationError):
    """Values do not fit the processor's `Params`; `problems` says by name why."""

    def __init__(self, batch_type: str, problems: Mapping[str, str]) -> None:
        self.batch_type = batch_type
        self.problems = dict(problems)
        told = "; ".join(f"{name}: {problem}" for name, problem in problems.items())
        super().__init__(f"the params of {batch_type} do not fit: {told}")


class AlreadyImported(ConfigurationError):
    """The file's content is that of an earlier batch, and it was not to be stored again."""

    def __init__(self, source: str | None, batch_id: int, *, is_finished: bool) -> None:
        self.source = source
        self.batch_id = batch_id
        self.is_finished = is_finished
        go_on = "reprocess {} runs its failures again" if is_finished else "process {} goes on with it"
        super().__init__(
            f"{source or 'the source'}: this is batch {batch_id} already, and nothing was stored; "
            f"`reliable-imports {go_on.format(f'{batch_id}`')}, and --again stores the same content once more"
        )


class IdempotencyKeyTaken(ConfigurationError):
    """The key of a reprocess request names a batch of another lineage."""

    def __init__(self, idempotency_key: str, taken_by: int, batch_id: int) -> None:
        self.idempotency_key = idempotency_key
        self.taken_by = taken_by
        self.batch_id = batch_id
        super().__init__(
            f"idempotency key {idempotency_key!r} names batch {taken_by}, which does not repeat batch {batch_id}; "
            "give this request a key of its own"
        )


class DuplicateBatchType(ConfigurationError):
    """Two processors have one batch type; `first` and `second` say where each stands."""

    def __init__(self, batch_type: str, first: str, second: str) -> None:
        self.batch_type = batch_type
        self.first = first
        self.second = second
        super().__init__(
            f"two processors have batch type {batch_type!r}: {first} and {second}; "
            "give one of them another `batch_type` attribute"
        )


class InvalidProcessor(ConfigurationError):
    """A processor declares, or lacks, what cannot have been meant."""

    def __init__(self, processor: str, problem: str) -> None:
        self.processor = processor
        self.problem = problem
        super().__init__(f"processor {processor} cannot be used: {problem}")


class ProcessorWarning(UserWarning):
    """A processor can be used, and declares what may be a mistake."""


class InvalidTarget(ConfigurationError):
    """The table of a processor that leaves its columns or its key to it is not there, or does not tell them; no item
    was touched."""

    def __init__(self, processor: str, problem: str) -> None:
        self.processor = processor
        self.problem = problem
        super().__init__(f"processor {processor} cannot be used: {problem}")


class DiscoveryError(ConfigurationError):
    """A module that should hold processors cannot be imported."""

    def __init__(self, module: str, location: str, cause: str) -> None:
        self.module = module
        self.location = location
        super().__init__(f"cannot import {module} while looking for processors: {cause} ({location})")


class InvalidDsn(ConfigurationError):
    """A DSN that libpq cannot read. The text of the DSN is left out: it may hold a password."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"the database DSN cannot be read: {problem}; expected postgresql://user:password@host:5432/database"
        )


class UnsupportedDatabase(ConfigurationError):
    """A database in which items would not be kept as they came."""

    def __init__(self, name: str, encoding: str) -> None:
        self.encoding = encoding
        super().__init__(
            f"database {name} is in {encoding}, which cannot hold every text; create one in UTF8: "
            "CREATE DATABASE imports ENCODING 'UTF8' TEMPLATE template0"
        )


class SourceError(ReliableImportsError):
    """The source cannot be split into items, so it is refused whole and no batch is made.

    Attributes:
        source: what was read, as the user named it.
        line: 1-based line where reading stopped, or None where lines have no meaning.
        offset: 0-based byte offset in the decompressed source, or None if unknown.
    """

    def __init__(self, source: str | Path, problem: str, *, line: int | None = None, offset: int | None = None) -> None:
        self.source = str(source)
        self.problem = problem
        self.line = line
        self.offset = offset
        place = "".join(
            [f", line {line}" if line is not None else "", f", byte {offset}" if offset is not None else ""]
        )
        super().__init__(f"{self.source}{place}: {problem}; no batch was created")


class SourceUnavailable(SourceError):
    """The source is out of reach now: the network, or what holds the file. It may be read another time."""


class SourceChanged(SourceUnavailable):
    """The source was cut, appended to or rewritten while it was read, so what was read may be half of each."""

    def __init__(self, source: str | Path, change: str) -> None:
        self.change = change
        super().__init__(source, f"was changed while it was read: {change}; import it again when it is complete")


class DatabaseError(ReliableImportsError):
    """The database cannot do its part now; what was accepted before is safe."""


class SchemaNotReady(DatabaseError):
    """The schema is not there, or lacks something of this release.

    Attributes:
        missing: the migrations, functions and views that are to be applied, by name; None if nothing is there yet.
    """

    def __init__(self, missing: Sequence[str] | None) -> None:
        self.missing = None if missing is None else tuple(missing)
        state = "has no reliable_imports schema" if missing is None else f"lacks {_a_few(missing)} of this release"
        super().__init__(f"the database {state}; run `reliable-imports migrate`")


class SchemaTooNew(DatabaseError):
    """A later release has migrated the database, and this one cannot work with what is there.

    Attributes:
        release: of this program.
        needed: the newest release that is known to have left something there, or None.
        gone: what this program calls and does not find, by name.
    """

    def __init__(self, release: str, needed: str | None, gone: Sequence[str]) -> None:
        self.release = release
        self.needed = needed
        self.gone = tuple(gone)
        lacks = f" and does not have {_a_few(gone)}" if gone else ""
        super().__init__(
            f"the database is that of a later release{lacks}: "
            f"release {release} of reliable-imports cannot work with it; "
            f"install {f'release {needed} or later' if needed else 'the release that migrated it'}"
        )


class RunInterrupted(DatabaseError):
    """The connection was lost, or the server could not go on, while a batch was worked. Open items stay pending."""

    def __init__(self, batch_id: int, cause: str) -> None:
        self.batch_id = batch_id
        self.cause = cause
        super().__init__(
            f"batch {batch_id} was interrupted by the database: {cause}; finished items are kept and the rest stay "
            f"pending: `reliable-imports process {batch_id}` goes on"
        )


class SetupFailed(DatabaseError):
    """A processor's `setup_sql` cannot be read or run; no item was touched."""

    def __init__(self, path: str, problem: str, batch_id: int | None) -> None:
        """
        Args:
            batch_id: None if there is no batch yet.
        """
        self.path = path
        self.problem = problem
        self.batch_id = batch_id
        what_now = (
            "no batch was made"
            if batch_id is None
            else f"batch {batch_id} stays pending: once that is repaired, `reliable-imports process {batch_id}`"
        )
        super().__init__(
            f"the set-up of the target tables, {path}, failed: {problem}; {what_now}; where the tables are made "
            "otherwise, use migrate=False or RELIABLE_IMPORTS_MIGRATE=no"
        )


class TryEnded(DatabaseError):
    """A try could not go on."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(f"the try has ended early, and nothing of it was kept: {cause}")


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL cannot be installed, started or reached."""

    def __init__(self, problem: str, *, detail: str = "") -> None:
        self.problem = problem
        self.detail = detail
        super().__init__(f"{problem}; set RELIABLE_IMPORTS_DSN to use a PostgreSQL of your own")


class ItemError(ReliableImportsError):
    """Fails the item that is being processed, and only that."""


class InvalidRow(ItemError):
    """The item does not fit the processor's model; carries every field's problem at once.

    Attributes:
        problems: field name (dotted where nested) to what is wrong with it; no values of the item.
        kinds: field name to the kind of problem, the same for every item with this fault.
    """

    def __init__(self, problems: Mapping[str, str], kinds: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        self.kinds = dict(kinds)
        self.faults: tuple[Any, ...] = ()  # with what a model says besides, which is not for the message
        super().__init__("; ".join(f"{field}: {problem}" for field, problem in self.problems.items()))

    @classmethod
    def of(cls, faults: Sequence[Any]) -> InvalidRow:
        """Of all that is wrong, as `ModelFault`s."""
        problems: dict[str, str] = {}
        kinds: dict[str, str] = {}
        for fault in faults:
            problems.setdefault(fault.field, fault.problem)
            kinds.setdefault(fault.field, fault.kind)
        row = cls(problems, kinds)
        row.faults = tuple(faults)
        return row


class ContextMisuse(ItemError):
    """The processor used its ImportContext for what would endanger other items, such as COMMIT.

    Attributes:
        about: the table and column that it is about, if it is about one.
    """

    def __init__(self, message: str, *, about: str | None = None) -> None:
        self.about = about
        super().__init__(message)


class UnusableTarget(ItemError):
    """A table cannot be written to as a processor wants: it is not there, or lacks a column or a unique index."""


class NullInKey(ItemError):
    """A row has no value for a column of its key, so it could never be found again."""

    def __init__(self, table: str, key: Sequence[str], missing: Sequence[str]) -> None:
        self.table = table
        self.missing = tuple(missing)
        super().__init__(
            f"the key ({', '.join(key)}) of table {table} has no value for {', '.join(missing)}, so every delivery "
            'would add the row again; give a value, make the index NULLS NOT DISTINCT, or say null_keys = "insert"'
        )


class DuplicateKey(ItemError):
    """Several items of a batch have one natural key, and the processor declares that none of them shall win."""

    def __init__(self, duplicate_of: int) -> None:
        self.duplicate_of = duplicate_of
        super().__init__(f"item {duplicate_of} of this batch has the same natural key")


class ItemTimeout(ItemError):
    """An item took longer than the processor's `item_timeout`."""


class KilledWorker(ItemError):
    """An item ended the process that tried it alone, twice; it is set aside so that the others can be imported."""


class TransientError(ItemError):
    """Raise it in a processor when another try later may well succeed: the failure is marked retryable."""


def _a_few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
