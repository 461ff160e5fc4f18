"""The example in production: roles with few rights, and Dagster's processes under supervision."""
