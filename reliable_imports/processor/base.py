"""The class that a person writes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from reliable_imports.errors import TransientError
from reliable_imports.processor.facts import Facts
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.stored.location import locate_partition

if TYPE_CHECKING:
    from reliable_imports.items.failure import Failure
    from reliable_imports.models import Batch, BatchSummary
    from reliable_imports.processor.context import ImportContext
    from reliable_imports.processor.item import ImportBatchItem


PARTITIONS = re.compile(r"(hourly|daily|weekly|monthly) from (\d{4}-\d{2}-\d{2})")
DUPLICATES = ("last_wins", "first_wins", "fail")


class BaseProcessor(ABC):
    """Says how one item is imported. Subclass it, name it `<What>Processor`, and write `process_item`.

    One instance works one run, item after item, in one thread. Whatever `validate_item` or `process_item` raises fails
    that item alone. Effects outside the database happen at least once: an item is run again after a crash.
    """

    batch_type: ClassVar[str]
    """The name of what is imported; from the class name unless set: `CustomerDataProcessor` -> `customer_data`."""

    source: ClassVar[Path | str | None] = None
    """The file to import when none is named, so that a schedule or a click needs no configuration. `{partition}` in it
    stands for the name of a partition."""

    source_options: ClassVar[SourceOptions] = SourceOptions()
    """How files are read: format, encoding, delimiter, a workbook's sheet, limits."""

    skip_unchanged: ClassVar[bool] = False
    """Store no file whose content an earlier batch has. Once a file of the same name has brought other content, the old
    content counts as new again. If this is False, such a file is stored, and the batch's warnings say so."""

    rename: ClassVar[Mapping[str, str]] = {}
    """Fields that have another name in the source: `{"Order No.": "order_no"}`. `source_data` has the new name, and so
    have models, keys and `sensitive`. Several names may become one, for files that differ."""

    strip: ClassVar[bool] = False
    """Take white space off both ends of texts, before anything else looks at them."""

    null_tokens: ClassVar[frozenset[str]] = frozenset()
    """Strings that mean "no value", such as `""` and `"NA"`. `source_data` has None for them; the stored item keeps
    them."""

    decimal_comma: ClassVar[bool | Collection[str]] = False
    """Numbers are written `1.234,56`, with a point, a blank or nothing between thousands. True: in all fields that are
    numbers by the table or the model; or the names of fields. `source_data` has `1234.56`."""

    dates: ClassVar[str | Sequence[str] | Mapping[str, str | Sequence[str]]] = ()
    """How dates are written, with or without a time, if not like `2024-01-31`: a format of `strptime`, such as
    `%d.%m.%Y`, or several, of which the first that fits counts. In all fields that are dates by the table or the model;
    or a mapping of fields to formats. `source_data` has `2024-01-31`."""

    sensitive: ClassVar[Collection[str]] = ()
    """Fields whose values are shown nowhere: not by the command line, in reports, in logs or in Dagster. A field of a
    model counts under all of its names. The stored item keeps them."""

    decimals: ClassVar[bool] = False
    """Give JSON numbers with a fraction or exponent as `Decimal`, exactly as written, instead of float."""

    setup_sql: ClassVar[Path | None] = None
    """A file of SQL that makes the target tables. Run at the start of every run, so it must be safe to repeat."""

    depends_on: ClassVar[Sequence[str]] = ()
    """Batch types whose data this one refers to; drawn as lineage in Dagster."""

    schedule: ClassVar[str | None] = None
    """A cron expression; makes a Dagster schedule that imports `source`."""

    transient_errors: ClassVar[tuple[type[Exception], ...]] = (TransientError,)
    """Exceptions that another try later may cure: the item is tried again within the run, and failed as retryable when
    that does not help."""

    max_tries: ClassVar[int] = 3
    """Tries at an item that meets one of `transient_errors`, within one run; if the last one fails too, the item
    fails."""

    retry_pause: ClassVar[timedelta] = timedelta(seconds=1)
    """How long such an item rests before its second try; doubled with every try, at most a minute, with jitter."""

    max_attempts: ClassVar[int] = 5
    """Attempts at one item, across all reprocessing, after which a retryable failure waits for a person."""

    retry_backoff: ClassVar[timedelta] = timedelta(minutes=1)
    """How long a retryable failure rests before it is due for reprocessing; doubled with every attempt."""

    item_timeout: ClassVar[timedelta | None] = None
    """How long one item may take, and `prepare_item` and `on_item_error` for it as long again; then the item fails. A
    processor with a time-out works in a child process, which can be killed."""

    statement_timeout: ClassVar[timedelta | None] = None
    """How long one statement of an item may take on the server; then its item fails."""

    max_failed_items: ClassVar[int | None] = None
    """Failed items of a batch that are tolerated; one more pauses it, with the rest pending. None: any number."""

    max_failed_share: ClassVar[float | None] = None
    """Likewise, as a share from 0 to 1 of the items that have ended; looked at from 100 items on."""

    breaker_after: ClassVar[int | None] = 20
    """The batch is paused when so many items in a row fail for one reason of the environment: an outage, a missing
    right or table, one of `transient_errors`. The items of that chunk stay pending. None: never."""

    natural_key: ClassVar[Sequence[str]] = ()
    """Fields of the item that say what it is about. Items of a batch with one key are handled as `duplicates` says. An
    item that is repeated is skipped if an item delivered later has completed the same key. A TableProcessor finds
    duplicates by its `key`."""

    duplicates: ClassVar[str] = "last_wins"
    """Of several items of a batch with one natural key: `last_wins` or `first_wins` processes one and skips the others,
    `fail` fails them all."""

    has_effects: ClassVar[bool] = False
    """Items do something outside the database that cannot be taken back: they send a mail, or write to a service. They
    are tried only on request. Reading from a service, as `prepare_item` does, is no such effect."""

    prepare_concurrency: ClassVar[int] = 10
    """How many calls of `prepare_item` may be under way at once."""

    Params: ClassVar[type[Any] | None] = None
    """A nested pydantic model of what a batch can be told, such as a date, by `--param`, `create_batch(params=...)` or
    Dagster's launchpad. The values are kept with the batch; give no secrets."""

    partitions: ClassVar[str | None] = None
    """`hourly`, `daily`, `weekly` or `monthly`, and the first one: `daily from 2024-01-01`. In Dagster each is a
    partition of the asset, with a batch of its own."""

    _kind_of_facts: ClassVar[type[Facts]] = Facts
    _facts: Facts
    """Of the class; an instance that works a batch may have one of its own, which knows the table."""

    params: Any = None
    """The values that the batch was told, an instance of `Params`."""

    partition: str | None = None
    """The partition that the batch is for, as Dagster names it: `2024-01-31`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "batch_type" not in cls.__dict__:
            cls.batch_type = batch_type_of(cls.__name__)
        cls._facts = cls._kind_of_facts(cls)

    @classmethod
    def source_for(cls, partition: str | None) -> Path | str | None:
        """The source of one partition: `{partition}` in `source` stands for its name.

        Raises:
            ConfigurationError: the name leads out of the source's folder.
        """
        if cls.source is None or partition is None:
            return cls.source
        return locate_partition(cls.source, {"partition": partition})

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        """Whether the item may be processed; anything falsy fails it at stage `validate`."""
        return True

    def prepare_item(self, item: ImportBatchItem) -> Any:
        """Fetch what the item needs from elsewhere, such as an HTTP service; `item.prepared` then holds the result.

        Called before the item's transaction begins, for several items at once: in threads, or as tasks of an event loop
        if it is an `async def`. An exception, or taking longer than `item_timeout`, fails the item at stage `prepare`.

        It may be called again for the same item: if another worker takes the item meanwhile, or if another item has
        broken the event loop (stopped it, or cancelled all of its tasks). A new loop is made then, so do not keep a
        client that belongs to the loop.
        """
        return None

    @abstractmethod
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        """Import one item and return facts to keep with it, such as `target_table` and `target_id`."""

    def on_batch_start(self, batch: Batch, ctx: ImportContext) -> None:
        """Called before the first item of every run, in a transaction of its own. Raising stops the run."""

    def on_item_error(self, item: ImportBatchItem, error: Failure, ctx: ImportContext) -> None:
        """Called when an item has failed and its writes are undone; what this writes is committed with the outcome.

        Not called for an item that cost its process or its connection: this hook may have been the cause.
        """

    def on_batch_complete(self, summary: BatchSummary, ctx: ImportContext) -> None:
        """Called by the run that has closed the batch. An exception is logged and changes nothing.

        It is called once; again if the connection was lost meanwhile; and never if the process ends right after it has
        closed the batch.
        """


def batch_type_of(class_name: str) -> str:
    """`CustomerDataProcessor` -> `customer_data`, `HTTPLogProcessor` -> `http_log`."""
    stem = class_name.removesuffix("Processor") or class_name
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", stem).lower()
