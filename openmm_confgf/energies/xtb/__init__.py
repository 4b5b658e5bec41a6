"""GFN2-xTB: energies through tblite, minima by the xtb program or tblite's gradients."""
