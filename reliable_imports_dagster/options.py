"""What a team may say of all assets that a builder makes, in Dagster's own words."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from typing_extensions import TypedDict


class AssetOptions(TypedDict, total=False):
    """As `@dg.multi_asset` and `dg.AssetSpec` take them. They hold over what the translator says; tags are added to it.

    Attributes:
        partitions_def: any of Dagster's, in place of what the processors' `partitions` say.
        backfill_policy: of those that have partitions; `BackfillPolicy.single_run()` works all partitions of a backfill
            in one run, a batch for each.
        retry_policy: for steps that end before their batch does. What failed because of its items is not retried: that
            is the reprocess sensor's affair.
    """

    group_name: str
    owners: Sequence[str]
    tags: Mapping[str, str]
    automation_condition: dg.AutomationCondition[Any]
    partitions_def: dg.PartitionsDefinition[Any]
    backfill_policy: dg.BackfillPolicy
    retry_policy: dg.RetryPolicy
    hooks: set[dg.HookDefinition]
    op_tags: Mapping[str, Any]


_OF_THE_OP = ("backfill_policy", "retry_policy", "hooks", "op_tags")


def applied(spec: dg.AssetSpec, options: AssetOptions) -> dg.AssetSpec:
    """The spec with those of the options that are an asset's."""
    told: dict[str, Any] = {name: value for name, value in options.items() if name not in _OF_THE_OP}
    tags = told.pop("tags", {})
    return spec.replace_attributes(**told).merge_attributes(tags=tags)


class OpOptions(TypedDict, total=False):
    """What a team may say of the op of a job, in Dagster's own words.

    Attributes:
        retry_policy: for steps that end before their batch does.
        op_tags: such as those by which an executor chooses a queue or a pod.
    """

    retry_policy: dg.RetryPolicy
    op_tags: Mapping[str, Any]


class JobOptions(OpOptions, total=False):
    """What a team may say of a job, in Dagster's own words.

    Attributes:
        tags: of each run.
        hooks: on each of its ops.
    """

    tags: Mapping[str, str]
    hooks: set[dg.HookDefinition]


_KINDS = {"dagster/kind/postgres": "", "dagster/kind/python": ""}


def op_arguments(options: OpOptions | JobOptions) -> dict[str, Any]:
    """For `@dg.op`."""
    return {"tags": {**_KINDS, **options.get("op_tags", {})}, "retry_policy": options.get("retry_policy")}


def job_arguments(options: JobOptions) -> dict[str, Any]:
    """For `@dg.job`."""
    return {"tags": options.get("tags"), "hooks": options.get("hooks")}


def of_a_job(options: AssetOptions) -> JobOptions:
    """What is said of assets, as far as it holds for the jobs that run their failed items again."""
    told: JobOptions = {}
    if "retry_policy" in options:
        told["retry_policy"] = options["retry_policy"]
    if "hooks" in options:
        told["hooks"] = options["hooks"]
    if "op_tags" in options:
        told["op_tags"] = options["op_tags"]
    return told


@contextmanager
def without_stability_warnings() -> Iterator[None]:
    """Around what Dagster calls a beta or a preview, and would say so for each asset; docs/dagster.md says it once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        yield


def of_the_op(options: AssetOptions, specs: Iterable[dg.AssetSpec]) -> dict[str, Any]:
    """Those that are for the op which materializes these assets."""
    told: dict[str, Any] = {name: value for name, value in options.items() if name in _OF_THE_OP}
    if all(spec.partitions_def is None for spec in specs):
        told.pop("backfill_policy", None)  # for others of the assets that are built together
    return told
