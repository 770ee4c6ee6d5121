"""Consumers: a zip archive that runs on each notification."""
