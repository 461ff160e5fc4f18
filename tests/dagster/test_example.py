from __future__ import annotations

import dagster as dg

from example_repo import DATA
from example_repo.definitions import defs
from reliable_imports_dagster import ReliableImportsResource
from tests.dagster.conftest import Query

SENSOR = "reprocess_missing_references_sensor"


def test_flights_repair_themselves_when_their_airports_are_imported(
    dsn: str, instance: dg.DagsterInstance, query: Query
) -> None:
    def launch(job: str, **options: object) -> None:
        config = {"ops": {job.removeprefix("import_"): {"config": options}}} if options else None
        defs.resolve_job_def(job).execute_in_process(instance=instance, run_config=config, raise_on_error=False)

    def tick(cursor: str | None) -> dg.SensorResult:
        with dg.build_sensor_context(
            instance=instance,
            definitions=defs,
            sensor_name=SENSOR,
            cursor=cursor,
            resources={"reliable_imports": ReliableImportsResource()},
        ) as context:
            answer = defs.resolve_sensor_def(SENSOR)(context)
        assert isinstance(answer, dg.SensorResult)
        return answer

    for job in ("import_airlines", "import_airports", "import_planes", "import_flights"):
        launch(job)
    before = tick(None)
    assert not before.run_requests
    [(waiting,)] = query(
        "SELECT count(*) FROM reliable_imports.failed_items WHERE constraint_name = 'flights_dest_fkey'"
    )
    [(flights,)] = query("SELECT count(*) FROM example.flights")

    launch("import_airports", path=str(DATA / "missing_airports.csv"))
    [request] = tick(before.cursor).run_requests or []
    defs.resolve_job_def("reprocess_failed_items").execute_in_process(
        instance=instance, run_config=request.run_config, tags=dict(request.tags), raise_on_error=False
    )

    assert waiting == 147
    assert query("SELECT count(*) FROM example.flights") == [(flights + waiting,)]
