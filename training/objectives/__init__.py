"""Training objectives, one short file each."""
