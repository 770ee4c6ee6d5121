"""The stages of an event's way, each claiming its work from the store and leaving it there."""
