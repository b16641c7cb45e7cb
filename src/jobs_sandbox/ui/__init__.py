"""Standard input, standard output and the terminal."""
