"""What Dagster shows of a batch. Each module imports only from those below it.

reporting      what a run tells of the batch that it was given, and a sensor of one that was worked elsewhere
batch_report   a batch as Dagster shows it: a materialization or an observation, with its checks
checks         the checks: no failed items, failure rate, reconciled
metadata       how the batch stands, why, and what to do, as tables and figures
links          where a person goes on: to the launchpad, to a shell, to the runs
told_before    what earlier runs have told, so that nothing is told twice and nothing never
failures       what has failed, asked of the database once
run_failure    whether a run fails because of its batches, and in which words
page           a batch's page for people, written to a folder and linked
failed_values  what failed items hold in the fields that they failed for, if it may be shown
target_table   what the database says of the asset's table: its name, its rows, what its columns refer to
words          words that several of them use
"""
