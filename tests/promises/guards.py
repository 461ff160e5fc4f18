"""What holds the promises of docs/invariants.md, and how each guard is broken to see a test fail.

A guard is found by its text, wherever in the package it stands, so that files may be moved. A text that is found
nowhere or twice is a mistake: adapt the guard to what stands in its place.
"""

from __future__ import annotations

from typing import NamedTuple


class Guard(NamedTuple):
    """Attributes:
    name: as the page names it.
    old, new: a text of the package, and what it is replaced by.
    more: other texts that have to be replaced with it.
    test: fails then; it has the marker of the promise.
    """

    promise: int
    name: str
    old: str
    new: str
    test: str
    more: tuple[tuple[str, str], ...] = ()


# Instead of the lock, whose owner lives as long as it does: a lease, which outlives its owner.
LEASE_IS_OVER = """NOT EXISTS (
            SELECT FROM reliable_imports.import_runs AS owner
            WHERE owner.batch_id = %(batch_id)s AND owner.range_number = open_range.range_number
                AND reliable_imports.run_is_live_v1(owner.ended_at, owner.heartbeat_at)
        )"""

GUARDS = (
    Guard(
        1,
        "code batches.create.create_batch",
        "batch_id = insert_batch(cursor, offer)\n            if batch_id is None:  # a delivery",
        'batch_id = insert_batch(cursor, offer)\n            cursor.execute("COMMIT; BEGIN")\n'
        "            if batch_id is None:  # a delivery",
        "tests/core/batches/test_create.py::test_a_generator_that_breaks_leaves_no_batch",
    ),
    Guard(
        1,
        "column import_items.source_data",
        "source_data          json,",
        "source_data          jsonb,",
        "tests/core/batches/test_create.py::test_source_data_keeps_the_text_of_numbers",
    ),
    Guard(
        1,
        "constraint import_items_kept_once",
        "WHEN erased_at IS NULL AND data_batch_id IS NULL THEN (source_data IS NULL) <> (source_raw IS NULL)",
        "WHEN erased_at IS NULL AND data_batch_id IS NULL THEN true",
        "tests/promises/test_tables.py::test_an_item_has_its_json_or_its_raw_bytes",
    ),
    Guard(
        1,
        "constraint import_items_data_of_chain",
        "data_batch_id IS NULL OR (repeats_batch_id IS NOT NULL AND read_problem_kind IS NULL)",
        "true",
        "tests/promises/test_tables.py::test_only_a_repeat_reads_its_data_elsewhere",
    ),
    Guard(
        1,
        "code sources.text.json_lines.read_json_lines",
        "yield SourceItem(None, without_end(raw, content.encoding), found.text, line, start, found.kind)",
        "pass",
        "tests/sources/test_json_lines.py::test_every_byte_of_every_line_is_in_an_item_or_the_file_is_refused",
    ),
    Guard(
        1,
        "code sources.text.delimited.read_delimited",
        "raw = without_end(record.raw, content.encoding)\n",
        "continue\n",
        "tests/sources/test_delimited.py::test_every_byte_of_every_row_is_in_an_item_or_the_file_is_refused",
    ),
    Guard(
        1,
        "code sources.text.delimited.read_delimited",
        "if len(cells) != width and _holds_whole_row(",
        "if False and _holds_whole_row(",
        "tests/sources/test_delimited.py::test_a_quote_closed_rows_later_by_another_one_refuses_the_file",
    ),
    Guard(
        1,
        "code sources.stored.files.StoredFile",
        """if change is not None:
            raise SourceChanged(shown(self._location), change)
        self.sha256""",
        "self.sha256",
        "tests/sources/test_changes.py::test_a_file_that_changes_while_it_is_read_is_refused",
    ),
    Guard(
        2,
        "function record_chunk",
        "IF pg_catalog.txid_current() <> transaction_id THEN",
        "IF false THEN",
        "tests/promises/test_one_transaction.py::test_an_item_that_ends_the_transaction_behind_our_back_fails_alone",
    ),
    Guard(
        2,
        "code engine.work.recorder.Recorder",
        'before, after = _WORK["record_chunk"]',
        'cursor.execute("COMMIT; BEGIN; SELECT pg_catalog.txid_current()")\n'
        '        parameters["transaction_id"] = cursor.fetchone()[0]\n'
        '        before, after = _WORK["record_chunk"]',
        "tests/promises/test_one_transaction.py::test_an_outcome_that_cannot_be_recorded_takes_the_writes_along",
    ),
    Guard(
        2,
        "code engine.work.recorder._WITHOUT_WAITING",
        '"SET LOCAL synchronous_commit = off; "',
        '"SET synchronous_commit = off; "',
        "tests/faults/test_server_crashes.py::test_the_end_of_a_run_waits_until_the_disk_has_all_of_it",
    ),
    Guard(
        2,
        "code engine.work.recorder._LONG_CHUNK_SECONDS",
        "_LONG_CHUNK_SECONDS = 0.2",
        "_LONG_CHUNK_SECONDS = 99.0",
        "tests/core/engine/test_commits.py::test_a_long_chunk_waits_for_the_disk_and_short_ones_once_a_second",
    ),
    Guard(
        2,
        "function describe_target",
        "'has_row_triggers', EXISTS (",
        "'has_row_triggers', false AND EXISTS (",
        "tests/writes/test_as_single_inserts.py::test_a_trigger_for_each_row_sees_what_it_would_see_for_single_items",
    ),
    Guard(
        2,
        "query writes.write_left_rows",
        "IF is_one AND pg_catalog.cardinality(refused",
        "IF false AND pg_catalog.cardinality(refused",
        "tests/writes/test_prediction.py::test_a_row_that_was_suspected_for_nothing_is_written_in_its_turn",
    ),
    Guard(
        2,
        "query writes.write_left_rows",
        "IF is_one AND {in_the_way} THEN",
        "IF false AND {in_the_way} THEN",
        "tests/writes/test_prediction.py::test_a_row_in_the_way_of_others_is_not_left_for_later",
    ),
    Guard(
        2,
        "code writes.prediction.Prediction",
        "found += [self._repeats(refuser, place), self._stands(refuser, place)]",
        "found += [self._stands(refuser, place)]",
        "tests/writes/test_prediction.py::test_of_rows_that_want_the_same_value_the_first_gets_it",
    ),
    Guard(
        3,
        "code engine.isolation.savepoints.Savepoints",
        'transaction.pending = f"ROLLBACK TO SAVEPOINT {savepoint.name}; RELEASE SAVEPOINT {savepoint.name}; "\n'
        "        self._repeat",
        'transaction.pending = f"RELEASE SAVEPOINT {savepoint.name}; "\n        self._repeat',
        "tests/core/engine/test_isolation.py::test_a_misbehaving_item_fails_alone",
    ),
    Guard(
        3,
        "function repeat_statements",
        "EXECUTE statements[number];\n        GET DIAGNOSTICS touched = ROW_COUNT;",
        "touched := counts[number];",
        "tests/core/engine/test_shared_savepoints.py::test_neighbours_of_a_failure_keep_their_writes",
    ),
    Guard(
        3,
        "query work.is_steady",
        "AND called.provolatile <> 'i'",
        "AND false",
        "tests/core/engine/test_steady_answers.py::test_what_might_be_answered_otherwise_is_undone_alone",
    ),
    Guard(
        3,
        "code engine.isolation.statements.Repetition",
        'return f"{self.head_with_number}{told[0][self.place]}, {text[len(self.head) :]}"',
        "return text",
        "tests/core/engine/test_steady_answers.py::test_numbers_of_a_sequence_are_given_again",
    ),
    Guard(
        3,
        "code engine.isolation.savepoints._Savepoint",
        "self.is_last = self.is_last or (self.gives_numbers and self.is_unsure)",
        "self.is_last = False",
        "tests/core/engine/test_steady_answers.py::test_what_looks_at_the_last_number_is_undone_alone",
    ),
    Guard(
        3,
        "code postgres.connect.discard_session",
        'cursor.execute("DISCARD ALL")',
        'cursor.execute("SELECT")',
        "tests/core/engine/test_isolation.py::test_what_an_item_leaves_in_the_session_does_not_reach_the_next",
    ),
    Guard(
        3,
        "code engine.work.worker.Worker",
        "if trying and (self._stop.received is not None or chunk.is_full):",
        "if trying and self._stop.received is not None:",
        "tests/core/engine/test_overlap.py::test_what_an_item_leaves_in_the_session_does_not_reach_those_behind_it",
    ),
    Guard(
        4,
        "constraint import_attempts_pkey",
        "PRIMARY KEY (batch_id, item_number, attempt) WITH (fillfactor = 100),\n",
        "",
        "tests/promises/test_tables.py::test_an_attempt_has_one_outcome",
    ),
    Guard(
        4,
        "function claim_chunk",
        "LIMIT 1\n    FOR UPDATE SKIP LOCKED;",
        "LIMIT 1;",
        "tests/promises/test_one_transaction.py::test_a_range_that_is_held_is_not_handed_out",
    ),
    Guard(
        4,
        "function record_chunk",
        "AND claimed.next_item = record_chunk_v1.first_item;",
        ";",
        "tests/promises/test_one_transaction.py::test_a_range_that_has_moved_takes_no_outcome",
    ),
    Guard(
        5,
        "function claim_chunk",
        "AND open_range.range_number >= from_range\n",
        f"AND open_range.range_number >= from_range AND {LEASE_IS_OVER}\n".replace(
            "%(batch_id)s", "the_batch AND owner.id <> the_run"
        ),
        "tests/core/engine/test_crashes.py::test_a_killed_workers_items_are_processed_once",
        more=(
            (
                "SELECT FROM reliable_imports.import_ranges\nWHERE batch_id = %(batch_id)s\n    AND is_open\n",
                "SELECT FROM reliable_imports.import_ranges AS open_range\n"
                f"WHERE batch_id = %(batch_id)s\n    AND is_open\n    AND {LEASE_IS_OVER}\n",
            ),
        ),
    ),
    Guard(
        5,
        "function run_has_session",
        "SELECT FROM pg_catalog.pg_stat_activity AS session\n            WHERE session.pid = run.backend_pid",
        "SELECT FROM pg_catalog.pg_stat_activity AS session\n            WHERE true OR session.pid = run.backend_pid",
        "tests/core/engine/test_misbehaviour.py::test_an_item_that_kills_its_worker_is_set_aside",
    ),
    Guard(
        5,
        "code engine.recovery.killer_search.MAX_LONE_DEATHS",
        "MAX_LONE_DEATHS = 2",
        "MAX_LONE_DEATHS = 5",
        "tests/core/engine/test_misbehaviour.py::test_a_killer_costs_three_processes_however_many_workers_meet_it",
    ),
    Guard(
        5,
        "query work.wait_for_range",
        "WHERE batch_id = %(batch_id)s\n    AND range_number = %(range_number)s\nFOR UPDATE\n",
        "WHERE batch_id = %(batch_id)s\n    AND range_number = %(range_number)s\n",
        "tests/core/engine/test_handovers.py::test_a_run_waits_for_its_old_session_to_let_go",
    ),
    Guard(
        6,
        "constraint import_batches_status_tells_losses",
        "WHEN 'completed' THEN failed_items = 0",
        "WHEN 'completed' THEN true",
        "tests/core/test_statuses.py::test_the_table_refuses_a_status_that_its_columns_contradict",
    ),
    Guard(
        6,
        "constraint import_batches_counted_when_final",
        "OR completed_items + failed_items + skipped_items = total_items",
        "OR true",
        "tests/core/test_statuses.py::test_the_table_refuses_a_status_that_its_columns_contradict",
    ),
    Guard(
        6,
        "constraint import_attempts_failure_explained",
        "(outcome = 'failed') = (\n            reason IS NOT NULL AND reasons IS NOT NULL AND faults IS",
        "true OR (\n            reason IS NOT NULL AND reasons IS NOT NULL AND faults IS",
        "tests/promises/test_tables.py::test_an_outcome_that_is_no_completion_says_why",
    ),
    Guard(
        6,
        "constraint import_attempts_skip_explained",
        "CHECK ((outcome = 'skipped') = (skip_reason IS NOT NULL))",
        "CHECK (true)",
        "tests/promises/test_tables.py::test_an_outcome_that_is_no_completion_says_why",
    ),
    Guard(
        6,
        "query work.close_batch",
        "    AND NOT batch.is_canary\n    AND reliable_imports.nothing_is_open_v1(batch.id)",
        "    AND NOT batch.is_canary",
        "tests/core/test_statuses.py::test_a_batch_with_an_open_range_is_not_closed",
    ),
    Guard(
        6,
        "function run_write",
        "'left out')\n    END;",
        "'unchanged')\n    END;",
        "tests/writes/test_declared_target.py::test_an_item_whose_row_was_left_out_is_skipped",
    ),
    Guard(
        6,
        "view reconciliation",
        "AND coalesce(batch.completed_items, counted.completed) = counted.completed\n"
        "        AND coalesce(batch.failed_items, counted.failed) = counted.failed",
        "",
        "tests/core/postgres/test_views.py::test_reconciliation_shows_a_count_that_is_wrong",
    ),
    *(
        Guard(
            7,
            f"trigger {table}_immutable",
            f"BEFORE DELETE OR TRUNCATE ON reliable_imports.{table}",
            f"BEFORE {left} ON reliable_imports.{table}",
            "tests/core/batches/test_create.py::test_history_refuses_change_by_hand",
        )
        for table in ("import_items", "import_attempts", "import_row_keys", "import_logs")
        for left in ("DELETE", "TRUNCATE")
    ),
    *(
        Guard(
            7,
            f"trigger {table}_only_erased",
            f"AFTER UPDATE ON reliable_imports.{table}\n    FOR EACH ROW WHEN (NOT",
            f"AFTER UPDATE ON reliable_imports.{table}\n    FOR EACH ROW WHEN (false AND NOT",
            "tests/core/batches/test_create.py::test_history_refuses_change_by_hand",
        )
        for table in ("import_items", "import_attempts", "import_row_keys", "import_logs")
    ),
    Guard(
        8,
        "query reprocess.lock_lineage",
        "FOR NO KEY UPDATE OF first\n",
        "\n",
        "tests/core/batches/test_reprocess.py::test_four_at_once_take_each_failure_once",
    ),
    Guard(
        8,
        "index import_items_repeated_once",
        "CREATE UNIQUE INDEX import_items_repeated_once",
        "CREATE INDEX import_items_repeated_once",
        "tests/promises/test_tables.py::test_an_item_is_repeated_once",
    ),
    Guard(
        8,
        "view outstanding_failures",
        "    AND failure.erased_at IS NULL\n    AND NOT EXISTS (\n"
        "        SELECT FROM reliable_imports.import_items AS repeat\n"
        "        WHERE repeat.repeats_batch_id = failure.batch_id",
        "    AND failure.erased_at IS NULL\n    AND NOT EXISTS (\n"
        "        SELECT FROM reliable_imports.import_items AS repeat\n"
        "        WHERE false",
        "tests/core/batches/test_reprocess.py::test_twice_in_a_row_takes_nothing_twice",
    ),
    Guard(
        8,
        "query reprocess.find_open_reprocess",
        "AND open_batch.finished_at IS NULL\n",
        "AND false\n",
        "tests/core/batches/test_reprocess.py::test_a_crash_between_creation_and_processing_is_resumed",
    ),
    Guard(
        8,
        "function find_newer",
        "> (origin_batch, origin_item)",
        "> (origin_batch, origin_item) AND false",
        "tests/core/batches/test_reprocess.py::test_an_old_failure_never_overwrites_newer_data",
    ),
    Guard(
        8,
        "function record_chunk",
        "WHERE numbered.number > 1",
        "WHERE false",
        "tests/core/batches/test_reprocess.py::test_every_row_of_a_newer_item_counts_though_its_neighbour_wrote_none",
    ),
    Guard(
        8,
        "function write_as_one",
        "IF FOUND THEN\n            RAISE EXCEPTION 'a later item",
        "IF false THEN\n            RAISE EXCEPTION 'a later item",
        "tests/writes/test_newer_data.py::test_old_failures_that_go_together_leave_newer_data_that_is_being_written",
    ),
    Guard(
        9,
        "code items.message_values.without_values",
        "words_that_are_written(without_values(said, source_data), {raised, *team.files})",
        "said",
        "tests/core/items/test_failure.py::test_values_of_the_item_become_field_names",
    ),
    Guard(
        9,
        "code items.failure.server_failure",
        "return _clean(f\"({found['columns']}) {found['rest']}\") if found else None",
        "return detail",
        "tests/core/items/test_failure.py::test_details_lose_their_values",
    ),
    Guard(
        9,
        "code engine.work.attempt.Attempt",
        "self.failure = self.failure.without_values_of(sensitive, data)",
        "pass",
        "tests/core/items/test_redaction.py::test_what_is_sensitive_stays_in_the_item_alone",
    ),
    Guard(
        9,
        "code items.redaction.without_secrets",
        "return pattern.sub(MASKED, value)",
        "return value",
        "tests/core/items/test_redaction.py::test_what_a_processor_tells_of_an_item_is_masked",
    ),
    Guard(
        9,
        "code items.redaction.shown",
        "MASKED if name in sensitive and each is not None else shown(each, sensitive)",
        "shown(each, sensitive)",
        "tests/core/items/test_redaction.py::test_fields_are_masked_at_any_depth_and_numbers_stay_as_they_are",
    ),
    Guard(
        9,
        "code postgres.dsn.redact",
        '_HIDDEN = "***"',
        '_HIDDEN = "secret"',
        "tests/test_dsn.py::test_a_password_is_hidden_in_every_form",
    ),
    Guard(
        10,
        "code batches.create.create_batch",
        "begun = iter(items) if",
        "begun = iter(list(items)) if",
        "tests/core/engine/test_memory.py::test_memory_is_flat",
    ),
    Guard(
        10,
        "function claim_chunk",
        "wanted.bytes > max_bytes THEN",
        "false THEN",
        "tests/core/engine/test_memory.py::test_a_worker_that_goes_slowly_holds_no_more_than_two_megabytes",
    ),
    Guard(
        10,
        "function claim_chunk",
        "IF wanted.are_compressed OR",
        "IF",
        "tests/core/engine/test_memory.py::test_items_are_held_by_their_size_and_not_by_what_the_server_compresses_them_to",
    ),
)
