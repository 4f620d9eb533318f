"""The command `clead`. Each command has a file of its own and imports what it needs when it runs."""

from __future__ import annotations

__version__ = "0.1.0"
