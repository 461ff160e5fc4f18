"""What Dagster's definitions are made of. Each module imports only from those below it.

jobs       the jobs `import_<type>`
schedules  the schedules `import_<type>_schedule`
parallel   the jobs `import_<type>_in_parallel`: several workers on one batch
reprocess  the jobs and ops that run failed items again
ops        the import of a processor as an op
assets     an asset for each processor
"""
