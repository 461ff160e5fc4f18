"""Batches as a whole: made from a source, made again of failures, stopped, read and verified."""
