"""What a team may say of all assets that a builder makes, in Dagster's own words."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from typing_extensions import TypedDict


class AssetOptions(TypedDict, total=False):
    """As `@dg.multi_asset` and `dg.AssetSpec` take them. They hold over what the translator says; tags are added to it.

    Attributes:
        retry_policy: for steps that end before their batch does. What failed because of its items is not retried: that
            is the reprocess sensor's affair.
    """

    group_name: str
    owners: Sequence[str]
    tags: Mapping[str, str]
    automation_condition: dg.AutomationCondition[Any]
    retry_policy: dg.RetryPolicy
    hooks: set[dg.HookDefinition]
    op_tags: Mapping[str, Any]


_OF_THE_OP = ("retry_policy", "hooks", "op_tags")


def applied(spec: dg.AssetSpec, options: AssetOptions) -> dg.AssetSpec:
    """The spec with those of the options that are an asset's."""
    told: dict[str, Any] = {name: value for name, value in options.items() if name not in _OF_THE_OP}
    tags = told.pop("tags", {})
    return spec.replace_attributes(**told).merge_attributes(tags=tags)


def of_the_op(options: AssetOptions) -> dict[str, Any]:
    """Those that are an op's."""
    return {name: value for name, value in options.items() if name in _OF_THE_OP}
