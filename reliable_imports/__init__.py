"""Imports into PostgreSQL that lose nothing: every item stored, isolated, tracked, and run again by one command.

What is named here is imported when it is first asked for: who wants an error class, or the help of the command line,
need not load a database driver.
"""

import importlib as _importlib
import logging as _logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reliable_imports.batches.corrections.edits import Corrections
    from reliable_imports.batches.erasing.erasure import Erasure
    from reliable_imports.batches.purge import Purge, PurgeRequest
    from reliable_imports.batches.repeats.request import ReprocessRequest, SetFields, WhichItems
    from reliable_imports.batches.verify import Verification
    from reliable_imports.causes import (
        CommonValue,
        FailedSample,
        FailureReason,
        OutstandingReason,
        ReasonAction,
        ReasonBatch,
        ReasonDetails,
        ReasonSummary,
    )
    from reliable_imports.errors import (
        AlreadyImported,
        AmbiguousReason,
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
        InvalidTarget,
        ItemError,
        ItemsInUse,
        ItemTimeout,
        KilledWorker,
        NullInKey,
        ProcessorWarning,
        ReliableImportsError,
        RunInterrupted,
        SchemaNotReady,
        SchemaTooNew,
        SetupFailed,
        SourceChanged,
        SourceError,
        SourceUnavailable,
        TransientError,
        TryEnded,
        UnknownBatch,
        UnknownBatchType,
        UnknownReason,
        UnsupportedDatabase,
        UnusableTarget,
    )
    from reliable_imports.items.failure import Failure
    from reliable_imports.manager import BatchManager
    from reliable_imports.models import Batch, BatchSummary, Delivery, ItemRecord, LogEntry, RunRecord
    from reliable_imports.processor.base import BaseProcessor, batch_type_of
    from reliable_imports.processor.context import ImportContext
    from reliable_imports.processor.item import ImportBatchItem
    from reliable_imports.processor.registry import ProcessorRegistry
    from reliable_imports.processor.table import TableProcessor
    from reliable_imports.sources import Source, SourceOptions, open_source
    from reliable_imports.statuses import (
        BatchStatus,
        ItemStatus,
        Outcome,
        ReasonState,
        RunMode,
        Runner,
        RunOutcome,
        Stage,
        TryOutcome,
    )
    from reliable_imports.tried import TriedItem, TriedReason, TriedRow, TryReport
    from reliable_imports.writes.request import UniqueIndex

__all__ = [
    "AlreadyImported",
    "AmbiguousReason",
    "BaseProcessor",
    "Batch",
    "BatchFinished",
    "BatchManager",
    "BatchStatus",
    "BatchSummary",
    "CommonValue",
    "ConfigurationError",
    "ContextMisuse",
    "Corrections",
    "DatabaseError",
    "Delivery",
    "DiscoveryError",
    "DuplicateBatchType",
    "DuplicateKey",
    "EmbeddedServerError",
    "Erasure",
    "FailedSample",
    "Failure",
    "FailureReason",
    "IdempotencyKeyTaken",
    "ImportBatchItem",
    "ImportContext",
    "InvalidDsn",
    "InvalidParams",
    "InvalidProcessor",
    "InvalidRow",
    "InvalidTarget",
    "ItemError",
    "ItemRecord",
    "ItemStatus",
    "ItemTimeout",
    "ItemsInUse",
    "KilledWorker",
    "LogEntry",
    "NullInKey",
    "Outcome",
    "OutstandingReason",
    "ProcessorRegistry",
    "ProcessorWarning",
    "Purge",
    "PurgeRequest",
    "ReasonAction",
    "ReasonBatch",
    "ReasonDetails",
    "ReasonState",
    "ReasonSummary",
    "ReliableImportsError",
    "ReprocessRequest",
    "RunInterrupted",
    "RunMode",
    "RunOutcome",
    "RunRecord",
    "Runner",
    "SchemaNotReady",
    "SchemaTooNew",
    "SetFields",
    "SetupFailed",
    "Source",
    "SourceChanged",
    "SourceError",
    "SourceOptions",
    "SourceUnavailable",
    "Stage",
    "TableProcessor",
    "TransientError",
    "TriedItem",
    "TriedReason",
    "TriedRow",
    "TryEnded",
    "TryOutcome",
    "TryReport",
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

# The modules of these names; the imports above, which a type checker reads, say the same.
_MODULES = {
    "batches.corrections.edits": ("Corrections",),
    "batches.erasing.erasure": ("Erasure",),
    "batches.purge": (
        "Purge",
        "PurgeRequest",
    ),
    "batches.repeats.request": (
        "ReprocessRequest",
        "SetFields",
        "WhichItems",
    ),
    "batches.verify": ("Verification",),
    "causes": (
        "CommonValue",
        "FailedSample",
        "FailureReason",
        "OutstandingReason",
        "ReasonAction",
        "ReasonBatch",
        "ReasonDetails",
        "ReasonSummary",
    ),
    "errors": (
        "AlreadyImported",
        "AmbiguousReason",
        "BatchFinished",
        "ConfigurationError",
        "ContextMisuse",
        "DatabaseError",
        "DiscoveryError",
        "DuplicateBatchType",
        "DuplicateKey",
        "EmbeddedServerError",
        "IdempotencyKeyTaken",
        "InvalidDsn",
        "InvalidParams",
        "InvalidProcessor",
        "InvalidTarget",
        "InvalidRow",
        "ItemError",
        "ItemTimeout",
        "ItemsInUse",
        "KilledWorker",
        "NullInKey",
        "ProcessorWarning",
        "ReliableImportsError",
        "RunInterrupted",
        "SchemaNotReady",
        "SchemaTooNew",
        "SetupFailed",
        "SourceChanged",
        "SourceError",
        "SourceUnavailable",
        "TransientError",
        "TryEnded",
        "UnknownBatch",
        "UnknownBatchType",
        "UnknownReason",
        "UnsupportedDatabase",
        "UnusableTarget",
    ),
    "items.failure": ("Failure",),
    "manager": ("BatchManager",),
    "models": (
        "Batch",
        "BatchSummary",
        "Delivery",
        "ItemRecord",
        "LogEntry",
        "RunRecord",
    ),
    "processor.base": (
        "BaseProcessor",
        "batch_type_of",
    ),
    "processor.context": ("ImportContext",),
    "processor.item": ("ImportBatchItem",),
    "processor.registry": ("ProcessorRegistry",),
    "processor.table": ("TableProcessor",),
    "sources": (
        "Source",
        "SourceOptions",
        "open_source",
    ),
    "statuses": (
        "BatchStatus",
        "ItemStatus",
        "Outcome",
        "ReasonState",
        "RunMode",
        "RunOutcome",
        "Runner",
        "Stage",
        "TryOutcome",
    ),
    "tried": (
        "TriedItem",
        "TriedReason",
        "TriedRow",
        "TryReport",
    ),
    "writes.request": ("UniqueIndex",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

# A library says nothing on its own: whoever wants its messages configures logging.
_logging.getLogger(__name__).addHandler(_logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # so that this is asked once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
