"""From a SMILES to molecular dynamics: conformers, their energies, a picture, and three simulations to go on with.

Run it with ``make demo`` or ``python examples/01_conformers_to_simulations.py [folder]``; it takes about a minute.
"""

import sys
import time
from pathlib import Path

from openmm_confgf import MolecularGraph, generate, score, seed_simulations, write_ensembles
from openmm_confgf.plots.ensemble import plot_ensemble

IBUPROFEN = "CC(C)Cc1ccc(cc1)[C@H](C)C(=O)O"


def main(folder: Path, n: int = 100) -> None:
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    molecule = MolecularGraph.from_smiles(IBUPROFEN, name="(S)-ibuprofen")

    # positions in nm, a status for each sample; the specified stereocentre is kept
    conformers = generate(molecule, n, seed=1)
    print(conformers.summary())

    # relax each conformer in OpenFF Sage, rank by energy, keep the lowest of each group within 0.125 Angstrom
    minima = score(conformers, forcefield="openff-2.2.1", minimize=True)
    print(minima.summary())
    distinct = minima.ranked().deduplicated(rmsd=0.0125)

    files = [*write_ensembles([distinct], folder / "ibuprofen.sdf"), *write_ensembles([distinct], folder / "ibuprofen.pdb")]
    files.append(plot_ensemble(distinct, folder / "ibuprofen.png", f"{molecule.name}: {len(distinct)} distinct minima, openff-2.2.1"))

    # diverse low-energy picks, minimised, with velocities, after 1 ps of Langevin dynamics
    seeds = seed_simulations(distinct, folder / "seeds", forcefield="openff-2.2.1", count=3, run_ps=1.0, seed=1)

    lowest = distinct.energy[0]
    print(f"\n{molecule.name}: {n} conformers, {int(minima.ok.sum())} usable minima, {len(distinct)} distinct")
    print("\n  rank  above the lowest (kJ/mol)")
    for rank, energy in enumerate(distinct.energy[:5], start=1):
        print(f"  {rank:4d}  {energy - lowest:10.2f}")
    print("\n  seed  from rank  minimum (kJ/mol)  after 1 ps (kJ/mol)  mean T (K)  status")
    for number, seed in enumerate(seeds):
        print(
            f"  {number:4d}  {seed.index + 1:9d}  {seed.minimized_energy:16.2f}  {seed.final_energy:19.2f}"
            f"  {seed.mean_temperature:10.0f}  {seed.status.name}"
        )
    print("\nwritten:")
    for path in [*files, *(path for seed in seeds for path in (seed.state_xml, seed.system_xml, seed.pdb) if path)]:
        print(f"  {path}")
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("demo_output"))
