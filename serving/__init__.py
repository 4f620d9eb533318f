"""The HTTP server: BentoML around a Starlette application that classifies and probes images. No torch."""
