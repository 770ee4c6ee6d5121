"""What is stored and how it is claimed: the only code that queries the tables at run time."""
