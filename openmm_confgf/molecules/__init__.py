"""What is the molecule? Its graph, its stereo, its names in OpenMM; and whether, and how, its conformations differ."""
