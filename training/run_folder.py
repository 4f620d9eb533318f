"""Names of the files in a run's folder."""

from __future__ import annotations

LAST = "last.safetensors"
"""From which a run continues."""
BEST = "best.safetensors"
"""The one that did best on held-out images, as `selection.by` says: what is evaluated and exported."""
