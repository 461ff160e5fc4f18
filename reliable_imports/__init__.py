"""Imports into PostgreSQL that lose nothing: every item stored, isolated, tracked, and run again by one command."""

import logging as _logging

from reliable_imports.batches.request import ReprocessRequest, WhichItems
from reliable_imports.batches.verify import Verification
from reliable_imports.errors import (
    AlreadyImported,
    BatchFinished,
    ConfigurationError,
    ContextMisuse,
    DatabaseError,
    DiscoveryError,
    DuplicateBatchType,
    DuplicateKey,
    EmbeddedServerError,
    IdempotencyKeyTaken,
    InvalidDsn,
    InvalidParams,
    InvalidProcessor,
    InvalidRow,
    ItemError,
    ItemTimeout,
    KilledWorker,
    NullInKey,
    ProcessorWarning,
    ReliableImportsError,
    RunInterrupted,
    SchemaNotReady,
    SetupFailed,
    SourceChanged,
    SourceError,
    SourceUnavailable,
    TransientError,
    UnknownBatch,
    UnknownBatchType,
    UnknownReason,
    UnsupportedDatabase,
    UnusableTarget,
)
from reliable_imports.items.failure import Failure
from reliable_imports.manager import BatchManager
from reliable_imports.models import (
    Batch,
    BatchSummary,
    Delivery,
    FailureReason,
    ImportBatchItem,
    ItemRecord,
    LogEntry,
    OutstandingReason,
    RunRecord,
)
from reliable_imports.processor.base import BaseProcessor, batch_type_of
from reliable_imports.processor.context import ImportContext
from reliable_imports.processor.registry import ProcessorRegistry
from reliable_imports.processor.table import TableProcessor
from reliable_imports.sources import Source, SourceOptions, open_source
from reliable_imports.statuses import BatchStatus, ItemStatus, Outcome, RunMode, Runner, RunOutcome, Stage
from reliable_imports.writes.plan import UniqueIndex

__all__ = [
    "AlreadyImported",
    "BaseProcessor",
    "Batch",
    "BatchFinished",
    "BatchManager",
    "BatchStatus",
    "BatchSummary",
    "ConfigurationError",
    "ContextMisuse",
    "DatabaseError",
    "Delivery",
    "DiscoveryError",
    "DuplicateBatchType",
    "DuplicateKey",
    "EmbeddedServerError",
    "Failure",
    "FailureReason",
    "IdempotencyKeyTaken",
    "ImportBatchItem",
    "ImportContext",
    "InvalidDsn",
    "InvalidParams",
    "InvalidProcessor",
    "InvalidRow",
    "ItemError",
    "ItemRecord",
    "ItemStatus",
    "ItemTimeout",
    "KilledWorker",
    "LogEntry",
    "NullInKey",
    "Outcome",
    "OutstandingReason",
    "ProcessorRegistry",
    "ProcessorWarning",
    "ReliableImportsError",
    "ReprocessRequest",
    "RunInterrupted",
    "RunMode",
    "RunOutcome",
    "RunRecord",
    "Runner",
    "SchemaNotReady",
    "SetupFailed",
    "Source",
    "SourceChanged",
    "SourceError",
    "SourceOptions",
    "SourceUnavailable",
    "Stage",
    "TableProcessor",
    "TransientError",
    "UniqueIndex",
    "UnknownBatch",
    "UnknownBatchType",
    "UnknownReason",
    "UnsupportedDatabase",
    "UnusableTarget",
    "Verification",
    "WhichItems",
    "batch_type_of",
    "open_source",
]

# A library says nothing on its own: whoever wants its messages configures logging.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())
