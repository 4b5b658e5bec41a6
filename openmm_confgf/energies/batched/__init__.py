"""An OpenMM System as torch modules: energies of whole batches of conformations."""
