"""The message broker: Celery's settings, the transports that need a correction, and nudges."""
