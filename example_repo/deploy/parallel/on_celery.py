"""The code location with Celery: `--module-name example_repo.deploy.parallel.on_celery`."""

from dagster_celery import celery_executor

from example_repo.deploy.parallel import executor_config, with_parallel_flights

defs = with_parallel_flights(celery_executor.configured(executor_config("celery")), workers=4)
