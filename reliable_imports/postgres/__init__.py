"""The database: connections, SQL by name, the schema, and what its errors mean."""
