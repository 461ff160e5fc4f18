"""What a team says of assets in Dagster's own words, and what downstream assets are told of a batch."""

from typing import Any

import dagster as dg
import pytest

from reliable_imports import BatchManager, ConfigurationError
from reliable_imports_dagster import (
    ReliableImportsResource,
    build_import_asset,
    build_import_assets,
    build_import_job,
    build_import_op,
    build_parallel_import_job,
    build_reliable_imports_defs,
    build_reprocess_job,
    build_reprocess_op,
    reliable_imports_assets,
    upstream_batch,
)
from reliable_imports_dagster.options import AssetOptions
from tests.dagster.conftest import notes
from tests.dagster.doubles import NotesProcessor

PACKAGE = "tests.dagster.doubles"
RESOURCES = {"reliable_imports": ReliableImportsResource()}


@dg.success_hook(name="cheer")
def cheer(context: dg.HookContext) -> None: ...


OPTIONS: AssetOptions = {
    "group_name": "crm",
    "owners": ["team:crm"],
    "tags": {"level": "gold"},
    "automation_condition": dg.AutomationCondition.eager(),
    "retry_policy": dg.RetryPolicy(max_retries=2),
    "hooks": {cheer},
    "op_tags": {"queue": "slow"},
    "partitions_def": dg.StaticPartitionsDefinition(["eu", "us"]),
    "backfill_policy": dg.BackfillPolicy.single_run(),
}


def _one(**options: Any) -> dg.AssetsDefinition:
    return build_import_asset(NotesProcessor, **options)


def _of_all(**options: Any) -> dg.AssetsDefinition:
    [found] = [asset for asset in build_import_assets(PACKAGE, **options) if asset.key == dg.AssetKey("notes")]
    return found


def _in_one_step(**options: Any) -> dg.AssetsDefinition:
    @reliable_imports_assets(PACKAGE, **options)
    def library(context: dg.AssetExecutionContext, reliable_imports: ReliableImportsResource) -> Any:
        yield from reliable_imports.run(context, PACKAGE)

    return library


def _of_definitions(**options: Any) -> dg.AssetsDefinition:
    found = build_reliable_imports_defs(PACKAGE, **options).resolve_assets_def("notes")
    assert isinstance(found, dg.AssetsDefinition)
    return found


@pytest.mark.parametrize("build", [_one, _of_all, _in_one_step, _of_definitions])
def test_every_builder_takes_dagsters_own_words(build: Any) -> None:
    asset = build(**OPTIONS)

    spec = asset.specs_by_key[dg.AssetKey("notes")]
    assert (spec.group_name, list(spec.owners)) == ("crm", ["team:crm"])
    assert spec.tags["level"] == "gold"
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.kinds == {"postgres", "python"}
    assert asset.op.retry_policy == dg.RetryPolicy(max_retries=2)
    assert asset.op.tags["queue"] == "slow"
    assert asset.hook_defs == {cheer}
    assert asset.partitions_def == OPTIONS["partitions_def"]
    assert asset.backfill_policy == OPTIONS["backfill_policy"]
    assert {check.partitions_def for check in asset.check_specs if check.asset_key == spec.key} == {
        OPTIONS["partitions_def"]
    }


def test_a_backfill_policy_is_for_those_that_have_partitions() -> None:
    assert _one(backfill_policy=dg.BackfillPolicy.single_run()).backfill_policy is None


def test_jobs_that_reprocess_take_what_is_said_of_ops() -> None:
    defs = build_reliable_imports_defs(PACKAGE, **OPTIONS)

    for name in ("reprocess_failed_items", "reprocess_notes"):
        job = defs.resolve_job_def(name)
        [op] = job.all_node_defs
        assert isinstance(op, dg.OpDefinition)
        assert (op.retry_policy, op.tags["queue"]) == (dg.RetryPolicy(max_retries=2), "slow")
        assert job.hook_defs == {cheer}


def test_builders_of_ops_and_jobs_take_dagsters_own_words() -> None:
    policy = dg.RetryPolicy(max_retries=2)
    ops = [
        build_import_op(NotesProcessor, retry_policy=policy, op_tags={"queue": "slow"}),
        build_reprocess_op(PACKAGE, retry_policy=policy, op_tags={"queue": "slow"}),
    ]
    jobs = [
        build_reprocess_job(PACKAGE, tags={"team": "crm"}, hooks={cheer}),
        build_parallel_import_job(NotesProcessor, tags={"team": "crm"}, hooks={cheer}, retry_policy=policy),
        dg.Definitions(
            assets=[build_import_asset(NotesProcessor)],
            jobs=[build_import_job(NotesProcessor, tags={"team": "crm"}, hooks={cheer})],
            resources=RESOURCES,
        ).resolve_job_def("import_notes"),
    ]

    assert {(op.retry_policy, op.tags["queue"]) for op in ops} == {(policy, "slow")}
    assert {(job.tags["team"], frozenset(job.hook_defs)) for job in jobs} == {("crm", frozenset({cheer}))}


@dg.asset(deps=["notes"], required_resource_keys={"reliable_imports"})
def digest(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(metadata={"of": str(upstream_batch(context, "notes").batch_id)})


@dg.asset_check(asset="notes", required_resource_keys={"reliable_imports"})
def all_in(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=upstream_batch(context, "notes").completed_items == 2)


def _of(result: dg.ExecuteInProcessResult) -> str:
    [materialization] = result.asset_materializations_for_node("digest")
    return str(materialization.metadata["of"].value)


def _digested(instance: dg.DagsterInstance, **options: Any) -> dg.ExecuteInProcessResult:
    notes_asset = build_import_asset(NotesProcessor)
    return dg.materialize([notes_asset, digest, all_in], instance=instance, resources=RESOURCES, **options)


def test_a_downstream_asset_is_told_of_the_batch_of_its_own_run(
    dsn: str, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    config = {"ops": {"notes": {"config": {"items": notes(2)}}}}

    result = _digested(instance, run_config=config)

    assert _of(result) == "1"
    assert {each.check_name: each.passed for each in result.get_asset_check_evaluations()}["all_in"]
    # By itself: of what was materialized last, not of a batch that is newer and is not shown yet.
    manager.process_batch(manager.create_batch("notes", notes(3)))
    assert _of(_digested(instance, selection=[digest])) == "1"


def digests() -> dg.JobDefinition:
    assets = [build_import_asset(NotesProcessor), digest]
    job = dg.define_asset_job("digests", executor_def=dg.in_process_executor)
    return dg.Definitions(assets=assets, jobs=[job], resources=RESOURCES).resolve_job_def("digests")


def test_a_repeated_run_is_told_of_the_batch_of_the_run_that_it_repeats(dsn: str, instance: dg.DagsterInstance) -> None:
    config = {"ops": {"notes": {"config": {"items": notes(2)}}}}
    first = digests().execute_in_process(instance=instance, run_config=config)
    digests().execute_in_process(instance=instance, run_config=config)

    with dg.execute_job(
        dg.reconstructable(digests),
        instance,
        reexecution_options=dg.ReexecutionOptions(parent_run_id=first.run_id, step_selection=["digest"]),
    ) as result:
        [event] = [event for event in result.all_events if event.is_step_materialization]

    assert event.step_materialization_data.materialization.metadata["of"].value == "1"


def test_without_any_batch_it_says_what_to_do(dsn: str, instance: dg.DagsterInstance) -> None:
    with (
        dg.build_asset_context(instance=instance, resources=RESOURCES) as context,
        pytest.raises(ConfigurationError, match="none has materialized asset notes; import one first"),
    ):
        upstream_batch(context, "notes")


def test_what_others_import_meanwhile_makes_no_difference(dsn: str, instance: dg.DagsterInstance) -> None:
    @dg.asset(deps=["notes"])
    def others() -> None:
        config = {"ops": {"notes": {"config": {"items": notes(3)}}}}
        asset = build_import_asset(NotesProcessor)
        assert dg.materialize([asset], instance=instance, resources=RESOURCES, run_config=config).success

    @dg.asset(name="digest", deps=["notes", others], required_resource_keys={"reliable_imports"})
    def late(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"of": str(upstream_batch(context, "notes").batch_id)})

    result = dg.materialize(
        [build_import_asset(NotesProcessor), others, late],
        instance=instance,
        resources=RESOURCES,
        run_config={"ops": {"notes": {"config": {"items": notes(2)}}}},
    )

    assert _of(result) == "1"


def test_an_op_of_a_run_that_was_given_a_finished_batch_is_told_of_that_one(
    dsn: str, instance: dg.DagsterInstance, manager: BatchManager
) -> None:
    batch_id = manager.process_batch(manager.create_batch("notes", notes(2))).batch_id
    _digested(instance, run_config={"ops": {"notes": {"config": {"items": notes(3)}}}})
    import_notes = build_import_op(NotesProcessor)

    @dg.op(ins={"after": dg.In(dg.Nothing)}, required_resource_keys={"reliable_imports"})
    def told(context: dg.OpExecutionContext) -> int:
        return upstream_batch(context, "notes").batch_id

    @dg.job(resource_defs=RESOURCES)
    def imported_and_told() -> None:
        told(after=import_notes.alias("notes")())

    config = {"ops": {"notes": {"config": {"batch_id": batch_id}}}}
    result = imported_and_told.execute_in_process(instance=instance, run_config=config)

    assert result.output_for_node("told") == batch_id


def test_a_partition_of_an_asset_whose_upstream_has_none_is_told_of_the_latest_batch(
    dsn: str, instance: dg.DagsterInstance
) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01")

    @dg.asset(name="digest", deps=["notes"], partitions_def=days, required_resource_keys={"reliable_imports"})
    def daily(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(metadata={"of": str(upstream_batch(context, "notes").batch_id)})

    _digested(instance, run_config={"ops": {"notes": {"config": {"items": notes(2)}}}})

    assert _of(dg.materialize([daily], instance=instance, resources=RESOURCES, partition_key="2024-01-02")) == "1"
