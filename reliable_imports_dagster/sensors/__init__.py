"""The sensors, each in a module of its own; `frame` has what they have in common."""
