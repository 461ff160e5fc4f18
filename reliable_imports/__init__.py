"""Imports into PostgreSQL that lose nothing: every item stored, isolated, tracked, and run again by one command."""

import logging as _logging

from reliable_imports.context import ImportContext
from reliable_imports.errors import (
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
    SourceError,
    SourceUnavailable,
    TransientError,
    UnknownBatch,
    UnknownBatchType,
    UnknownReason,
    UnsupportedDatabase,
    UnusableTarget,
)
from reliable_imports.failure import Failure
from reliable_imports.manager import BatchManager
from reliable_imports.models import (
    Batch,
    BatchSummary,
    DueLine,
    FailureReason,
    ImportBatchItem,
    ItemRecord,
    LogEntry,
    OutstandingReason,
    RunRecord,
)
from reliable_imports.orchestration import FailuresPage, MissingReferences, PermanentFailures, WaitingBatch
from reliable_imports.processor import BaseProcessor, batch_type_of
from reliable_imports.registry import ProcessorRegistry
from reliable_imports.sources import Source, SourceOptions, open_source
from reliable_imports.statuses import BatchStatus, ItemStatus, Outcome, RunMode, Runner, RunOutcome, Stage
from reliable_imports.table_processor import TableProcessor
from reliable_imports.verification import Verification
from reliable_imports.writes.plan import UniqueIndex

__all__ = [
    "BaseProcessor",
    "Batch",
    "BatchFinished",
    "BatchManager",
    "BatchStatus",
    "BatchSummary",
    "ConfigurationError",
    "ContextMisuse",
    "DatabaseError",
    "DiscoveryError",
    "DueLine",
    "DuplicateBatchType",
    "DuplicateKey",
    "EmbeddedServerError",
    "Failure",
    "FailureReason",
    "FailuresPage",
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
    "MissingReferences",
    "NullInKey",
    "Outcome",
    "OutstandingReason",
    "PermanentFailures",
    "ProcessorRegistry",
    "ProcessorWarning",
    "ReliableImportsError",
    "RunInterrupted",
    "RunMode",
    "RunOutcome",
    "RunRecord",
    "Runner",
    "SchemaNotReady",
    "SetupFailed",
    "Source",
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
    "WaitingBatch",
    "batch_type_of",
    "open_source",
]

# A library says nothing on its own: whoever wants its messages configures logging.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())
