"""Types and functions that every other package uses."""
