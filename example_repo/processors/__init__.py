"""The team's processors, one module each; `registry.discover("example_repo.processors")` finds them all."""
