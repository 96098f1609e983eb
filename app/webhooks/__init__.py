"""Webhooks: one attempt at telling an endpoint of an event. `actors/webhooks.py` tells the story."""
