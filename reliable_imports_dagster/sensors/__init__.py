"""The sensors, each in a module of its own. Each module imports only from those below it.

files         imports files that arrive in a folder or in a bucket
arrivals      where they arrive, and where they go afterwards
resume        works batches that have no run: created by an application, or left behind
report        shows batches that were worked outside Dagster
reprocess     retryable failures whose back-off is over
references    failures whose missing row is there now
changed_code  failures of a processor that was changed
all_failures  every failure, a few times
frame         what they have in common, above all the one decision whether something gets a run now
"""
