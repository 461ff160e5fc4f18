"""The sensors, each in a module of its own. Each module imports only from those below it.

files         imports files that arrive in a folder or in a bucket
arrivals      where they arrive, and where they go afterwards
waiting       works batches that an application has created
abandoned     resumes batches whose process died without a word, or was made to stop
ended_runs    resumes the batches of crashed runs, and frees those of canceled ones
report        shows batches that were worked outside Dagster
reprocess     retryable failures whose back-off is over
references    failures whose missing row is there now
changed_code  failures of a processor that was changed
all_failures  every failure, a few times
resuming      what the three sensors of batches without a run have in common
frame         what they have in common, above all the one decision whether something gets a run now
"""
