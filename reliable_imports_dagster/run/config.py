"""What a run can be told. Run config is for ids and paths: Dagster keeps every run's, and loads it again and again."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from reliable_imports import BaseProcessor, ConfigurationError, ReprocessRequest, SetFields, WhichItems
from reliable_imports_dagster.run.params import params_field

MAX_INLINE_ITEMS = 100

WhichItemsOrDefault = Literal[
    "as_launched", "outstanding", "failed", "retryable", "due", "permanent", "resolved_references", "all"
]
"""The values of `WhichItems`, which Dagster's config takes as literals alone, and how the job was launched."""

FailThisRunOn = Literal["as_defined", "failed", "any_failure", "never"]


class ImportConfig(dg.Config):
    """What an import run imports: at most one of these. With none, the processor's own `source`."""

    path: str | None = Field(
        default=None,
        description="A file, as the code location sees it: .csv, .tsv, .jsonl, .ndjson or .json, also with .gz, .bz2, "
        ".xz, .zst or .zip, .xlsx or .parquet; or its URL, such as s3://bucket/key.csv.",
    )
    batch_id: int | None = Field(
        default=None, description="A batch that exists already; what is left of it is processed."
    )
    items: list[Any] | None = Field(
        default=None,
        description=f"A few items to try something, as JSON values; at most {MAX_INLINE_ITEMS}, more belong in a file.",
    )

    new_batch: bool = Field(
        default=False,
        description="Make a new batch, also where a re-execution, or another run of the partition, would resume one, "
        "and where the processor skips a file that is unchanged.",
    )
    idempotency_key: str | None = Field(
        default=None,
        description="Names what is delivered. Another run with the same key works the batch that the first has made, "
        "and reads nothing.",
    )
    fail_run_on: FailThisRunOn = Field(
        default="as_defined",
        description="When the run fails, and `dagster job execute` exits with 1: `failed`, if none of a batch's items "
        "was completed; `any_failure`; `never`. `as_defined` leaves it to the code.",
    )
    only_try: bool = Field(
        default=False,
        alias="try",
        description="Only say what would come of it: nothing is kept, and nothing materialized.",
    )
    sample: int | None = Field(default=None, description="With try: only so many items.")
    with_effects: bool = Field(default=False, description="With try: also if items do something outside the database.")
    params: dict[str, Any] | None = Field(
        default=None,
        description="Values for the processor's Params. A batch that exists already keeps those that it has.",
    )


def import_schema(processor: type[BaseProcessor]) -> dict[str, Any]:
    """`ImportConfig` as the launchpad shows it for one processor, with its `Params` in full."""
    fields: dict[str, Any] = {name: field for name, field in ImportConfig.to_fields_dict().items() if name != "params"}
    params = params_field(processor)
    return fields if params is None else {**fields, "params": params}


class ReprocessConfig(dg.Config):
    """Which items are run again."""

    batch_id: int | None = Field(
        default=None,
        description="A batch; its whole lineage counts, reprocess batches included. "
        "Without it, `reprocess_failed_items` takes all outstanding retryable failures, and the job of one type all of "
        "its outstanding failures.",
    )
    reasons: list[str] = Field(
        default=[],
        description="Only failures of these reasons, by their ids, as `reliable-imports failures BATCH` shows them.",
    )
    reason: str | None = Field(default=None, description="One reason; short for `reasons` with it alone.")
    exclude_reasons: list[str] = Field(default=[], description="No failures of these reasons.")
    from_item: int | None = Field(
        default=None, description="Only items from this number of the first batch of the lineage on; needs a batch_id."
    )
    to_item: int | None = Field(default=None, description="Only items up to this number, it included.")
    which: WhichItemsOrDefault = Field(
        default="as_launched",
        description="Which items: `outstanding`, failures that no later item repeats, and what a cancelled batch left "
        "undone; of these only those that `failed`, are `retryable`, or `due`, which is retryable with the back-off "
        "over; `permanent`, which no back-off will cure; `resolved_references`, which failed for a row that is there "
        "now; or `all`, completed ones too, which needs a batch_id and goes with none of reasons, exclude_reasons and "
        "max_attempts. `as_launched`: `outstanding` with a batch_id; without one `failed` for a job of one type, and "
        "`retryable` for the job of all.",
    )
    failed_items_only: bool = Field(default=True, description="False is short for `which: all`.")
    max_attempts: int | None = Field(default=None, description="Only items with fewer attempts.")
    canary: int | None = Field(
        default=None,
        description="So many items for each reason are tried first. Where all of them fail for it again, its other "
        "items are left alone and stay outstanding; the batch's warnings tell.",
    )
    hold: bool = Field(
        default=False, description="Make the reprocess batches, and let them wait until a run is launched for each."
    )
    skip: str | None = Field(
        default=None, description="Why the items are given up: they are not processed, and outstanding no more."
    )
    corrections: str | None = Field(
        default=None,
        description="An edited file of `reliable-imports failures --to`, as the code location sees it: only what was "
        "changed in it is run again, with the data that it has there. Goes with nothing else that says which items.",
    )
    set_fields: list[str] = Field(
        default=[],
        alias="set",
        description="FIELD=VALUE, of which the value is JSON or a text: the items have these when they are run again. "
        "Needs reasons.",
    )
    only_try: bool = Field(
        default=False,
        alias="try",
        description="Only say what would come of it: nothing is kept, and nothing materialized.",
    )
    sample: int | None = Field(
        default=None, description="With try: only so many items, for each reason that they failed for."
    )
    with_effects: bool = Field(default=False, description="With try: also if items do something outside the database.")
    fail_run_on: FailThisRunOn = Field(
        default="as_defined",
        description="When the run fails, and `dagster job execute` exits with 1: `failed`, if none of a batch's items "
        "was completed; `any_failure`; `never`. `as_defined` leaves it to the code.",
    )

    @property
    def other_choices(self) -> list[str]:
        """What beside `corrections` says which items are meant, or what becomes of them."""
        said = {
            "reasons": bool(self.chosen_reasons),
            "exclude_reasons": bool(self.exclude_reasons),
            "which": self.which not in ("as_launched", "outstanding", "failed"),
            "failed_items_only": not self.failed_items_only,
            "from_item": self.from_item is not None,
            "to_item": self.to_item is not None,
            "max_attempts": self.max_attempts is not None,
            "canary": self.canary is not None,
            "skip": self.skip is not None,
            "set": bool(self.set_fields),
            "sample": self.sample is not None,
        }
        return [name for name, is_said in said.items() if is_said]

    @property
    def chosen_reasons(self) -> list[str]:
        """The only reasons that are meant; empty if all are."""
        return [*self.reasons, *([] if self.reason is None else [self.reason])]

    def which_items(self, batch_type: str | None) -> WhichItems:
        """The items that are meant, in the job of one batch type or of all.

        Raises:
            ConfigurationError: *which* and *failed_items_only* contradict each other.
        """
        if not self.failed_items_only and self.which not in ("as_launched", "all"):
            raise ConfigurationError(f"failed_items_only: false and which: {self.which} exclude each other")
        if not self.failed_items_only:
            return WhichItems.ALL
        if self.which != "as_launched":
            return WhichItems(self.which)
        if self.batch_id is not None:
            return WhichItems.OUTSTANDING
        return WhichItems.RETRYABLE if batch_type is None else WhichItems.FAILED

    def request(self, batch_type: str | None, idempotency_key: str | None = None) -> ReprocessRequest:
        """What is asked of each lineage.

        Raises:
            ConfigurationError: it contradicts itself.
        """
        set_fields = SetFields.of(self.set_fields) if self.set_fields else None
        if set_fields is not None and not self.chosen_reasons:
            raise ConfigurationError("set needs reasons, which say for which failures")
        return ReprocessRequest(
            corrections=set_fields,
            corrected_from=None if set_fields is None else str(set_fields),
            which=self.which_items(batch_type),
            reasons=self.chosen_reasons or None,
            exclude_reasons=self.exclude_reasons,
            max_attempts=self.max_attempts,
            from_item=self.from_item,
            to_item=self.to_item,
            canary=self.canary,
            hold=self.hold,
            skip=self.skip,
            idempotency_key=idempotency_key,
            requested_by="dagster",
        )
