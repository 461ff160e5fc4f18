"""A sensor's ticks, as Dagster's daemon makes them."""

import dagster as dg

from reliable_imports_dagster import ReliableImportsResource

Answer = dg.SensorResult | dg.SkipReason


class Daemon:
    """Does what Dagster's daemon does with a sensor: its cursor, each run key once, its runs and events."""

    def __init__(self, sensor: dg.SensorDefinition, instance: dg.DagsterInstance, definitions: dg.Definitions) -> None:
        self.sensor = sensor
        self.instance = instance
        self.definitions = definitions
        self.cursor: str | None = None
        self.keys: list[str | None] = []

    def tick(self) -> Answer:
        with dg.build_sensor_context(
            instance=self.instance,
            definitions=self.definitions,
            sensor_name=self.sensor.name,
            cursor=self.cursor,
            resources={"reliable_imports": ReliableImportsResource()},
        ) as context:
            answer = self.sensor(context)
        assert isinstance(answer, dg.SensorResult | dg.SkipReason)
        if isinstance(answer, dg.SensorResult):
            self.cursor = answer.cursor or self.cursor
            self.keys += [request.run_key for request in answer.run_requests or []]
            assert len(self.keys) == len(set(self.keys)), "a run key was repeated: its run would never start"
        return answer

    def requests(self) -> list[dg.RunRequest]:
        answer = self.tick()
        return list(answer.run_requests or []) if isinstance(answer, dg.SensorResult) else []

    def reason(self) -> str:
        answer = self.tick()
        if isinstance(answer, dg.SensorResult):
            assert not answer.run_requests
            return str(answer.skip_reason.skip_message if answer.skip_reason else "")
        return str(answer.skip_message)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        return self.definitions.resolve_job_def(request.job_name or "reprocess_failed_items").execute_in_process(
            instance=self.instance,
            run_config=request.run_config,
            tags={**request.tags, "dagster/sensor_name": self.sensor.name},
            raise_on_error=False,
        )

    def crash(self, request: dg.RunRequest) -> None:
        """A run that ends before it comes to its items."""
        job = self.definitions.resolve_job_def(request.job_name or "reprocess_failed_items")
        tags = {**request.tags, "dagster/sensor_name": self.sensor.name}
        run = self.instance.create_run_for_job(job, run_config=request.run_config, tags=tags)
        self.instance.report_run_failed(run)
