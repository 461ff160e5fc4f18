"""What imports cost, measured side by side on one private, durable PostgreSQL. Run `python -m benchmarks --help`."""
