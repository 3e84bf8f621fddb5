"""Models and weights of other programs, read as data and never executed."""
