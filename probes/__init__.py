"""Attacks, losses, threat models and the robustness report, on NumPy and torch alike."""
