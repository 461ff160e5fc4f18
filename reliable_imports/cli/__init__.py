"""The command line `reliable-imports`."""
