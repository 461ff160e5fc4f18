"""Which release this is. The build takes it from here, and so does the program: to read metadata takes a while."""

__version__ = "0.1.0"
