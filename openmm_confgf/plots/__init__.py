"""Pictures: of an ensemble, of a training run, of the benchmark of energies."""
