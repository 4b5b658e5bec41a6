"""The command line, `openmm-confgf`: parses, calls the API, prints."""
