"""The code location with Dask: `--module-name example_repo.deploy.parallel.on_dask`."""

from dagster_dask import dask_executor

from example_repo.deploy.parallel import executor_config, with_parallel_flights

defs = with_parallel_flights(
    dask_executor.configured(executor_config("dask")),
    workers=4,
    # Steps go to Dask workers that were started with `--resources "IMPORTS=1"`, one at a time to each.
    op_tags={"dagster-dask/resource_requirements": {"IMPORTS": 1}},
)
