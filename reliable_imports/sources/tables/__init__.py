"""Workbooks and Parquet as items: files that are tables, not text."""
