"""Bundles found, checked, loaded and followed while the server runs."""
