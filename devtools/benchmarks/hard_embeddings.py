"""Strained and odd molecules, and stereo that cannot be: which are made, from which starts, and how long each takes on one core.

    python devtools/benchmarks/hard_embeddings.py out.json --generator confgf [--bicycles qm9_train_smiles.txt]

Prints a line for each molecule and what failed at the end. The molecules of the list exist, or would by their GFN2-xTB minima.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem

from openmm_confgf import MolecularGraph
from openmm_confgf.errors import ConfGFError
from openmm_confgf.generators import Generator, create_generator

REAL = """
cyclooctyne C1CCCC#CCC1
cyclononyne C1CCCC#CCCC1
cyclodecyne C1CCCCC#CCCC1
cycloheptyne C1CCC#CCC1
dibenzocyclooctyne_amine NCCC(=O)N1Cc2ccccc2C#Cc2ccccc21
bicyclononyne OC[C@H]1[C@@H]2CCC#CCC[C@@H]21
cyclooctadiyne C1CC#CCCC#C1
paracyclophane_22 c1cc2ccc1CCc1ccc(cc1)CC2
metacyclophane_22 c1cc2cc(c1)CCc1cccc(c1)CC2
paracyclophane_33 c1cc2ccc1CCCc1ccc(cc1)CCC2
paracyclophane_22_diene c1cc2ccc1C=Cc1ccc(cc1)C=C2
paracyclophane_7 C1CCCc2ccc(CCC1)cc2
helicene_4 c1ccc2c(c1)ccc1ccc3ccccc3c12
helicene_5 c1ccc2c(c1)ccc1ccc3ccc4ccccc4c3c12
helicene_6 c1ccc2c(c1)ccc1ccc3ccc4ccc5ccccc5c4c3c12
helicene_7 c1ccc2c(c1)ccc1ccc3ccc4ccc5ccc6ccccc6c5c4c3c12
corannulene c1cc2ccc3ccc4ccc5ccc1c1c2c3c4c51
bicyclobutane C1C2CC12
bicyclobutane_nitrile C1C2CC12C#N
bicyclobutane_sulfone CS(=O)(=O)C12CC1C2
azabicyclobutane C1C2CN12
propellane_111 C1C23CC12C3
bicyclopentane_111 C1C2CC1C2
bicyclopentane_acid OC(=O)C12CC(C1)(C2)N
tetrahedrane_tbutyl CC(C)(C)C12C3(C(C)(C)C)C1(C(C)(C)C)C23C(C)(C)C
cubane C12C3C4C1C5C2C3C45
cubane_diacid OC(=O)C12C3C4C1C5C2C3C45C(=O)O
prismane C12C3C1C4C2C34
housane C1CC2CC12
spiropentane C1CC12CC2
quadricyclane C1C2C3C2C2C3C12
norbornadiene C1C2C=CC1C=C2
norcarane C1CCC2CC2C1
adamantane C1C2CC3CC1CC(C2)C3
diamantane C1C2CC3C4CC5CC(C14)C(C2)C3C5
twistane C1CC2CC3CCC2CC13
basketane C1CC2C3C4C2C5C1C3C45
trans_cyclooctene C1CCC/C=C/CC1
trans_cyclooctenol O[C@@H]1CCC/C=C/CC1
trans_cycloheptene C1CC/C=C/CC1
bridgehead_alkene C1CC2=CCC1CC2
bicyclononene C1CCC2=CCC1CC2
fused_aziridine C[C@@H]1N2C[C@H](CO)[C@]12C
aziridine_ketone CC(=O)[C@H]1[C@H]2CN=CN21
bicyclopentanone_aziridine O=C1C[C@@H]2[C@H]1N2
fused_epoxide C1C[C@H]2O[C@H]2C1
fused_bis_epoxide C1[C@@H]2O[C@@H]2[C@@H]2O[C@H]12
benzene_oxide C1=C[C@H]2O[C@H]2C=C1
oxetane_bicycle F[C@@]12C[C@H]1OC2
triquinacene C1=CC2C=CC3C2C1C=C3
dodecahedrane C12C3C4C5C1C6C7C2C8C3C9C4C1C5C6C2C7C8C9C12
barrelene C1=CC2C=CC1C=C2
semibullvalene C1=CC2C3C1C3C=C2
bullvalene C1=CC2C3C2C=CC1C=C3
snoutene C1=CC2C3C4C5C2C1C5C34
benzvalene C1=CC2C3C1C23
dewar_benzene C1=CC2C1C=C2
biphenylene c1ccc2c(c1)c1ccccc12
fenestrane C1CC23CCCC2CCC3C1
crown_18_6 C1COCCOCCOCCOCCOCCO1
cryptand C1COCCOCCN2CCOCCOCCN1CCOCCOCC2
peptide_ring_30 C[C@@H]1NC(=O)[C@H](CC(C)C)NC(=O)CNC(=O)[C@H](C)NC(=O)[C@H](C)NC(=O)CNC(=O)[C@H](CO)NC(=O)CNC(=O)[C@H](C)NC(=O)CNC1=O
sucrose OC[C@H]1O[C@@](CO)(O[C@H]2O[C@H](CO)[C@@H](O)[C@H](O)[C@H]2O)[C@@H](O)[C@@H]1O
sulfur_pentafluoride Nc1ccc(cc1)S(F)(F)(F)(F)F
sulfur_pentafluoride_alkyl CS(F)(F)(F)(F)F
phosphorane CP(F)(F)(F)F
pentaphenylphosphorane c1ccc(cc1)P(c1ccccc1)(c1ccccc1)(c1ccccc1)c1ccccc1
triethylborane CCB(CC)CC
borabicyclononane BrB1C2CCCC1CCC2
silacyclobutane C[Si]1(C)CCC1
disiloxane_ring C[Si]1(C)O[Si](C)(C)O1
cyclotetrasilane C[Si]1(C)[Si](C)(C)[Si](C)(C)[Si]1(C)C
silatrane C1CO[Si]2(C)OCCN1CCO2
penicillin CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O
strychnine O=C1C[C@@H]2OCC=C3CN4CC[C@@]56[C@H]4C[C@H]3[C@H]2[C@@H]6N1c1ccccc15
bicyclobutane_fluorochloro F[C@]12C[C@@]1(Cl)C2
morphine CN1CC[C@]23[C@H]4Oc5c3c(C[C@@H]1[C@@H]2C=C[C@@H]4O)ccc5O
artemisinin C[C@@H]1CC[C@H]2[C@H](C(=O)O[C@H]3[C@@]24[C@H]1CC[C@](O3)(OO4)C)C
taxane_core CC1=C2C(=O)C(=O)C3(C)CCC4OCC4C3C(O)C(C2(C)C)CC1
camphor C[C@@]12CC[C@@H](CC1=O)C2(C)C
dabco_dication C[N+]12CC[N+](C)(CC1)CC2
quinuclidinium C1C[NH+]2CCC1CC2
hexamine C1N2CN3CN1CN(C2)C3
calixarene Oc1c2cccc1Cc1cccc(c1O)Cc1cccc(c1O)Cc1cccc(c1O)C2
"""

IMPOSSIBLE = """
cyclopropyne C1#CC1
cyclobutyne C1#CCC1
trans_housane C[C@@]12C[C@@]1(F)CC2
norbornenol_bridgeheads O[C@@H]1C[C@@H]2C[C@@H]1C=C2
norbornane_bridgeheads F[C@]12CC[C@@](Cl)(CC1)C2
norbornane_in_out F[C@@]12CC[C@](Cl)(C1)CC2
trans_azabicyclobutane F[C@]12C[C@]1(Cl)C2
trans_norcarene_bridge C1[C@@H]2C[C@@H]2C=C1
trans_cyclopropene_epoxide F[C@]12O[C@]1(Cl)C2
trans_cyclohexene C1CC/C=C/C1
trans_cyclopentene C1C/C=C/C1
bicyclooctane_wrong F[C@]12CC[C@](Cl)(CC1)CC2
cubane_hand F[C@]12[C@H]3[C@@H]4[C@H]1[C@H]5[C@@H]2[C@H]3[C@H]45
camphor_wrong C[C@]12CC[C@@H](CC1=O)C2(C)C
morphine_wrong CN1CC[C@@]23[C@H]4Oc5c3c(C[C@@H]1[C@@H]2C=C[C@@H]4O)ccc5O
strychnine_wrong O=C1C[C@@H]2OCC=C3CN4CC[C@]56[C@H]4C[C@H]3[C@H]2[C@@H]6N1c1ccccc15
artemisinin_wrong C[C@@H]1CC[C@H]2[C@@H](C)C(=O)O[C@H]3[C@@]24[C@H]1CC[C@](C)(OO4)O3
penicillin_trans CC1(C)S[C@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@@]13CC3=C1C=C1
adamantane_wrong F[C@]12C[C@@]3(Cl)C[C@](Br)(C1)C[C@](I)(C2)C3
adamantane_other F[C@]12C[C@]3(Cl)C[C@](Br)(C1)C[C@](I)(C2)C3
quinuclidine_wrong C[N@+]12CC[C@@H](CC1)[C@H](F)C2
bridgehead_diaziridine O[C@@H]1[C@@H]2[C@H]3[C@@H]2[C@H]13
tropane_inverted C[N+]1(CC)[C@H]2CC[C@H]1CC(O)C2
"""


def listed(text: str) -> list[tuple[str, str]]:
    """Names and SMILES of a list."""
    return [(name, smiles) for name, smiles in (line.split() for line in text.strip().splitlines())]


def strained_bicycles(path: Path, count: int) -> list[tuple[str, str]]:
    """Molecules of a file of SMILES with two or more rings of three or four atoms, drawn with seed 0."""
    chosen = []
    for smiles in (line.split()[0] for line in path.read_text().splitlines() if line.strip()):
        mol = Chem.MolFromSmiles(smiles)
        if mol is not None and sum(len(ring) <= 4 for ring in mol.GetRingInfo().AtomRings()) >= 2:
            chosen.append(smiles)
    picks = np.sort(np.random.default_rng(0).choice(len(chosen), min(count, len(chosen)), replace=False))
    return [(f"bicycle_{k}", chosen[k]) for k in picks]


def measured(generator: Generator, kind: str, name: str, smiles: str, n: int) -> dict[str, object]:
    """What came of one molecule, and the seconds of computing that it took, on one core."""
    row: dict[str, object] = {"kind": kind, "name": name, "smiles": smiles}
    begun = time.process_time()
    try:
        ensemble = generator.sample(MolecularGraph.from_smiles(smiles), n, device="cpu")
        row |= {"ok": int(ensemble.ok.sum()), "settings": ensemble.provenance.settings | dict(ensemble.diagnostics)}
        row["status"] = dict(Counter(ensemble.status.tolist()))
    except ConfGFError as error:
        row |= {"ok": 0, "error": f"{type(error).__name__}: {error}"}
    return row | {"seconds": time.process_time() - begun}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--generator", default="confgf")
    parser.add_argument("--bicycles", type=Path, help="a file of SMILES, of which the strained bicycles are taken")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("--kinds", nargs="*", default=["real", "impossible", "bicycle"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = create_generator(arguments.generator)
    generator.sample("CCO", 1)  # what the first call costs is not a molecule's
    molecules = [("real", *m) for m in listed(REAL)] + [("impossible", *m) for m in listed(IMPOSSIBLE)]
    if arguments.bicycles:
        molecules += [("bicycle", *m) for m in strained_bicycles(arguments.bicycles, arguments.count)]
    rows = []
    for molecule in molecules:
        if molecule[0] in arguments.kinds:
            rows.append(row := measured(generator, *molecule, arguments.n))
            told = row.get("error") or {k: row["settings"].get(k) for k in ("start", "ways", "rescued", "repaired")}  # type: ignore[attr-defined]
            print(f"{row['kind']:10s} {row['name']:28s} {row['ok']:3d}/{arguments.n} {row['seconds']:6.1f} s  {told}", flush=True)
            arguments.output.write_text(json.dumps(rows, indent=1))
    for kind in arguments.kinds:
        of_kind = [row for row in rows if row["kind"] == kind]
        if of_kind:
            none, all_ok = sum(not row["ok"] for row in of_kind), sum(row["ok"] == arguments.n for row in of_kind)
            slowest = max(of_kind, key=lambda row: row["seconds"])  # type: ignore[arg-type,return-value]
            print(f"{kind}: {len(of_kind)} molecules, {all_ok} wholly OK, {none} without any, slowest", slowest["name"], slowest["seconds"])


if __name__ == "__main__":
    main()
