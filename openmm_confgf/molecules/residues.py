"""Standard residues: what their names tell of bonds, bond orders, charges and stereo."""

from __future__ import annotations

# The double bonds of a residue: an atom, and its possible partners. The partner with the fewest hydrogens is taken, the first where they
# tie, so that the name need not tell the protonation (HID, HIE, HIP, ASH, GLH ...).
DoubleBonds = tuple[tuple[str, tuple[str, ...]], ...]

_RING: DoubleBonds = (("CG", ("CD1",)), ("CD2", ("CE2",)), ("CE1", ("CZ",)))
_IMIDAZOLE: DoubleBonds = (("CG", ("CD2",)), ("CE1", ("ND1", "NE2")))
_PHOSPHATE: DoubleBonds = (("P", ("OP1", "OP2", "OP3")),)
_PURINE: DoubleBonds = (("C8", ("N7",)), ("C4", ("C5",)), ("C2", ("N3",)))
_SATURATED = "ACE ALA CYM CYS CYX GLY ILE LEU LYN LYS MET MSE NH2 NME PRO SER THR VAL"
_BACKBONE: DoubleBonds = (("C", ("O", "OXT")),)

AMINO_ACIDS: dict[str, DoubleBonds] = {
    **dict.fromkeys(_SATURATED.split(), _BACKBONE),
    **dict.fromkeys(("ASP", "ASH"), (("CG", ("OD1", "OD2")), *_BACKBONE)),
    **dict.fromkeys(("GLU", "GLH"), (("CD", ("OE1", "OE2")), *_BACKBONE)),
    **dict.fromkeys(("HIS", "HID", "HIE", "HIP"), (*_IMIDAZOLE, *_BACKBONE)),
    **dict.fromkeys(("PHE", "TYR"), (*_RING, *_BACKBONE)),
    "ARG": (("CZ", ("NH2", "NH1")), *_BACKBONE),
    "ASN": (("CG", ("OD1",)), *_BACKBONE),
    "GLN": (("CD", ("OE1",)), *_BACKBONE),
    "TRP": (("CG", ("CD1",)), ("CD2", ("CE2",)), ("CE3", ("CZ3",)), ("CZ2", ("CH2",)), *_BACKBONE),
}
"""Amino acids and caps, with their double bonds."""

NUCLEOTIDES: dict[str, DoubleBonds] = {
    **dict.fromkeys(("A", "DA"), (*_PURINE, ("C6", ("N1",)), *_PHOSPHATE)),
    **dict.fromkeys(("G", "DG"), (*_PURINE, ("C6", ("O6",)), *_PHOSPHATE)),
    **dict.fromkeys(("C", "DC"), (("C2", ("O2",)), ("C4", ("N3",)), ("C5", ("C6",)), *_PHOSPHATE)),
    **dict.fromkeys(("U", "DT"), (("C2", ("O2",)), ("C4", ("O4",)), ("C5", ("C6",)), *_PHOSPHATE)),
}
"""Nucleotides, with their double bonds."""

DOUBLE_BONDS = {**AMINO_ACIDS, **NUCLEOTIDES, "HOH": ()}

ALIASES = {
    **dict.fromkeys(("HSE", "HISE", "HISA", "HISD", "HISH", "HISB", "HIN", "HIS1", "HIS2"), "HIS"),
    **dict.fromkeys(("CYS2", "CYSH", "CYN", "CYX"), "CYS"),
    **dict.fromkeys(("CYM", "CYS1"), "CYM"),
    **dict.fromkeys(("LYN", "LYSH", "LSN"), "LYS"),
    **dict.fromkeys(("ASPH", "ASPP"), "ASP"),
    **dict.fromkeys(("GLUH", "GLUP"), "GLU"),
    **dict.fromkeys(("ARN", "ARGN"), "ARG"),
    **dict.fromkeys(("CT3", "NAC"), "NME"),
    "ALAD": "ALA",
}
"""Names of CHARMM, Amber and GROMACS for standard residues that OpenMM's own table of names does not have."""

TEMPLATES = {"CYM": "CYS", "MSE": "MET"}
"""Residues that keep their name and have the bonds of another one; selenium takes the place of `SD`."""

CENTRES_NOT_S = {("THR", "CB"): "R", ("CYS", "CA"): "R", ("CYX", "CA"): "R", ("CYM", "CA"): "R", ("MSE", "CA"): "S"}
"""CIP labels of the L residues' centres that are not S, for Topologies that come without positions."""

_ANIONIC = {"O", "OXT", "OD1", "OD2", "OE1", "OE2", "OP1", "OP2", "OP3"}


def may_be_anion(residue: str, atom: str) -> bool:
    """Whether a standard residue's atom may carry a negative charge that only its missing hydrogen tells.

    Parameters
    ----------
    residue, atom : str
        Names, as in `DOUBLE_BONDS`.
    """
    return atom in _ANIONIC or (residue, atom) == ("CYM", "SG")
