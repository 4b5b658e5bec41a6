import numpy as np
import openmm
import pytest
from openmm.app.internal.customgbforces import GBSAOBC2Force

from openmm_confgf.energies import ContextEnergy
from openmm_confgf.energies.systems.gb_forms import gb_forms

FRAMES = np.random.default_rng(0).normal(0.0, 0.2, (4, 5, 3))
CHARGES = (0.4, -0.6, 0.3, -0.2, 0.1)


def system_with(force):
    system = openmm.System()
    for k, charge in enumerate(CHARGES):
        system.addParticle(12.0)
        force.addParticle([charge, 0.12 + 0.01 * k, 0.8] if isinstance(force, openmm.CustomGBForce) else (charge, 0.12 + 0.01 * k, 0.8))
    if isinstance(force, openmm.CustomGBForce):
        force.finalize()
    force.setForceGroup(3)
    system.addForce(force)
    return system


class Builtin(openmm.GBSAOBCForce):
    def addParticle(self, parameters):
        super().addParticle(*parameters)


def builtin(tension=None, solute=1.0):
    force = Builtin()
    force.setSoluteDielectric(solute)
    if tension is not None:
        force.setSurfaceAreaEnergy(tension)
    return force


@pytest.mark.parametrize(
    "force",
    [builtin, lambda: builtin(0.0), lambda: builtin(solute=2.0), lambda: GBSAOBC2Force(SA="ACE"), lambda: GBSAOBC2Force(60.0, 2.0)],
    ids=["built in", "without area", "solute", "custom", "custom without area"],
)
def test_both_forms_have_the_same_energy(force):
    forms = gb_forms(system_with(force()))
    assert set(forms) == {"GBSAOBCForce", "CustomGBForce"}
    energies = []
    for system in forms.values():
        assert system.getForce(0).getForceGroup() == 3 and system.getNumForces() == 1
        with ContextEnergy(system, "Reference") as context:
            energies.append(context.evaluate(FRAMES).energy)
    # OpenMM's Coulomb constants differ by 2e-7 between them
    np.testing.assert_allclose(energies[0], energies[1], rtol=1e-6, atol=1e-5)


def test_the_given_form_comes_first_and_is_not_changed():
    system = system_with(GBSAOBC2Force(SA="ACE"))
    before = openmm.XmlSerializer.serialize(system)
    forms = gb_forms(system)
    assert list(forms) == ["CustomGBForce", "GBSAOBCForce"] and forms["CustomGBForce"] is system
    assert openmm.XmlSerializer.serialize(system) == before


def with_cutoff(force):
    force.setNonbondedMethod(force.CutoffNonPeriodic)
    return force


@pytest.mark.parametrize(
    ("force", "form"),
    [
        (lambda: GBSAOBC2Force(SA="ACE", kappa=1.0), "CustomGBForce"),
        (lambda: with_cutoff(GBSAOBC2Force(SA="ACE")), "CustomGBForce"),
        (lambda: builtin(3.0), "GBSAOBCForce"),
        (lambda: with_cutoff(builtin()), "GBSAOBCForce"),
    ],
    ids=["salt", "custom cutoff", "other area", "cutoff"],
)
def test_what_has_no_other_form_is_left_alone(force, form):
    assert list(gb_forms(system_with(force()))) == [form]


def test_another_custom_force_is_no_obc2():
    system = openmm.System()
    force = openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    force.addEnergyTerm("q^2", openmm.CustomGBForce.SingleParticle)
    system.addForce(force)
    assert list(gb_forms(system)) == ["CustomGBForce"]


def test_without_solvent_there_is_one_form():
    system = openmm.System()
    assert gb_forms(system) == {None: system}
