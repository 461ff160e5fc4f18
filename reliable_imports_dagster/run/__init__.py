"""What a Dagster run does with a batch. Each module imports only from those below it.

importing      one import: accept a batch, work it, tell of it
trying         a try: the same as a run, rolled back, and what it came to
report/        what Dagster shows of a batch: a materialization or an observation, and the checks
tie            ties a run to the batch that it works, before the first item is touched
accept         which batch a run works: one that exists, one of an earlier try, or a new one
correcting     the corrections of an edited file, as a run makes them
config         what a run can be told, as the launchpad asks for it
params         a processor's `Params` as such a config
refusal        errors that a person can mend, as one line
tags           the tags that a run carries
step           where a step is: in a run, or called directly
"""
