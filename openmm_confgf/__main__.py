"""``python -m openmm_confgf`` is ``openmm-confgf``."""

from .cli.app import main

main()
