"""Consumers: zip archives that run on each notification."""
