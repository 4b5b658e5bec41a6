"""From a molecule to an OpenMM System."""
