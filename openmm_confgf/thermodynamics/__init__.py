"""What conformations are worth as a sample of equilibrium. Arrays in, arrays out."""
