"""CherryPy's web server, where no client can hold a thread: threads take what has arrived."""
