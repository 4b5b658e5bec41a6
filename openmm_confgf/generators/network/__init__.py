"""What generators with a network share: weights and what they refuse, batches, conformers that are drawn again."""
