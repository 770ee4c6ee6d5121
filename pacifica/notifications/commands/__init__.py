"""What `pacifica-notifications-cmd` can do."""
