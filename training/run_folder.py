"""Names of the files in a run's folder."""

from __future__ import annotations

LAST = "last.safetensors"
"""From which a run continues."""
BEST = "best.safetensors"
"""The most robust one on held-out images: what is evaluated and exported."""
