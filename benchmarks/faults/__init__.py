"""What becomes of every request while one thing after the other goes wrong with the server."""
