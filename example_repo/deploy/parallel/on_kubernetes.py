"""The code location with Kubernetes: `--module-name example_repo.deploy.parallel.on_kubernetes`."""

from dagster_k8s import k8s_job_executor

from example_repo.deploy.parallel import executor_config, with_parallel_flights

# The pool limits how many pods of all runs work at once: `dagster instance concurrency set imports 8`.
defs = with_parallel_flights(k8s_job_executor.configured(executor_config("kubernetes")), workers=4, pool="imports")
