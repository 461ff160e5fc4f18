"""What is looked at before an import, or when one goes wrong. Each module imports only from those below it.

preflight  all of it, in order
dagster    Dagster's settings and storage, without Dagster
targets    the tables of the processors, and what a file has for them
database   the server, the schema, the rights, the batches
questions  its queries
finding    what was found, and what to do about it
"""
