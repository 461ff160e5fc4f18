from reliable_imports_dagster import ReliableImportsResource, build_reliable_imports_defs

defs = build_reliable_imports_defs("orders", resource=ReliableImportsResource())
