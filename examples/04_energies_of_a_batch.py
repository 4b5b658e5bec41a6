"""Energies of thousands of conformations at once, by force, with gradients: the System of your simulation, evaluated in torch."""

import time

import torch

from openmm_confgf import BatchedEnergy, ContextEnergy, ETKDGGenerator, PackedEnergy, create_system

conformers = ETKDGGenerator().sample("OCC(O)CO", 50, seed=1)
system = create_system(conformers.graph, forcefield="openff-2.2.1")

# a batch: the conformers, shaken by 2 pm
torch.manual_seed(0)
batch = torch.tensor(conformers.positions).repeat(20, 1, 1)
batch += 0.002 * torch.randn_like(batch)

# compiled=True is several times faster once it has compiled, which takes some ten seconds
energy = BatchedEnergy(system, device="cpu")
start = time.perf_counter()
result = energy.evaluate(batch.numpy(), forces=True)
ours = time.perf_counter() - start
with ContextEnergy(system, "Reference") as context:
    start = time.perf_counter()
    reference = context.evaluate(batch.numpy(), forces=True)
    theirs = time.perf_counter() - start
print(f"{len(batch)} conformations: {1e6 * ours / len(batch):.0f} us each, one OpenMM Context {1e6 * theirs / len(batch):.0f} us")
differences = abs(result.energy - reference.energy).max(), abs(result.forces - reference.forces).max()
print(f"largest differences: {differences[0]:.1e} kJ/mol, {differences[1]:.1e} kJ/mol/nm")

print("\nby force, conformer 0, kJ/mol")
for name, values in energy.decompose(conformers.positions[:1]).items():
    print(f"  {name:22s} {values[0]:9.3f}")

# the energy is a differentiable function of positions: a loss may hold it
positions = batch[:8].clone().requires_grad_()
energy.energy(positions).mean().backward()
print(f"\nlargest gradient {positions.grad.abs().max():.0f} kJ/mol/nm")

# several molecules in one call
other = ETKDGGenerator().sample("CC(=O)NC", 30, seed=1)
packed = PackedEnergy([system, create_system(other.graph)], device="cpu")
for name, outcome in zip(("glycerol", "N-methylacetamide"), packed.evaluate([conformers.positions, other.positions]), strict=True):
    print(f"{name}: {len(outcome.energy)} energies, lowest {outcome.energy.min():.2f} kJ/mol")
