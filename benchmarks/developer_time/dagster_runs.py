"""Prints the numbers in the metadata of all events of all runs in DAGSTER_HOME, each as `<800>`."""

from dagster import DagsterInstance

with DagsterInstance.get() as instance:
    for run in instance.get_runs():
        print(run.job_name, run.status.value)
        for entry in instance.all_logs(run.run_id):
            event = entry.dagster_event
            data = event.event_specific_data if event else None
            given = getattr(data, "materialization", None) or getattr(data, "asset_observation", None) or data
            for name, value in (getattr(given, "metadata", None) or {}).items():
                print(name, f"<{value.value}>")
