"""Input that nobody would send on purpose, to everything that reads what others wrote."""
