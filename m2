the schema is up to date
