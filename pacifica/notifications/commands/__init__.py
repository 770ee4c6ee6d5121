"""The commands of `pacifica-notifications-cmd`."""
