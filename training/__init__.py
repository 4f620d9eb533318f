"""Robust training: data, networks, objectives, the loop and the evaluation of what came out."""
