"""Commands: how a line is written, checked, completed, explained and carried out."""
