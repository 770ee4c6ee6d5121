"""Deliveries: the request, its signature, what the answer means, and when to try again."""
