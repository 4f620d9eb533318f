"""Requests a second and latency of `/classify`, beside other ways to serve the same model from Python."""
