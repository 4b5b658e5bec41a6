"""Training of Boltzmann generators: frames of a simulation, energies, rounds, and what they are looked at by."""
