"""The package's logger, and the levels that a log line may have."""

from __future__ import annotations

import logging

logger = logging.getLogger("reliable_imports")

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""By the name that `import_logs` stores."""
