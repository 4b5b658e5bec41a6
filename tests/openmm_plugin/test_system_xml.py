"""Pickles in a System's XML are looked at, not run, before they are known to be this package's."""

import binascii
import os
import pickle
import pickletools

import openmm
import pytest
from openmm import unit
from packaging.version import Version

from openmm_confgf.errors import FileFormatError, WeightsError
from openmm_confgf.molecules.graph import MolecularGraph
from openmm_confgf.openmm_plugin import add_pseudo_force, read_system
from openmm_confgf.openmm_plugin.graph_force import OLDEST, latest_sha256, molecule_text
from openmm_confgf.openmm_plugin.pseudo_force import PseudoForce
from openmm_confgf.openmm_plugin.system_xml import pickled_force

if Version(openmm.version.short_version) < Version(OLDEST):
    pytest.skip(f"PythonForces on particles need OpenMM {OLDEST}", allow_module_level=True)


@pytest.fixture(scope="module")
def system():
    system = openmm.System()
    for mass in (16.0, 1.0, 1.0):
        system.addParticle(mass)
    add_pseudo_force(system, "O")
    return system


@pytest.fixture(scope="module")
def xml(system):
    return openmm.XmlSerializer.serialize(system)


@pytest.fixture(scope="module")
def ours():
    return PseudoForce("confgf", latest_sha256("confgf"), molecule_text(MolecularGraph.from_smiles("O")))


def digits(content):
    return binascii.hexlify(content).decode()


def with_function(xml, function):
    head, _, tail = xml.partition('function="')
    return f'{head}function="{function}"{tail[tail.index(chr(34)) + 1 :]}'


def forces(system):
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions([(0, 0, 0), (0.1, 0, 0), (0, 0.11, 0)] * unit.nanometer)
    return context.getState(forces=True).getForces(asNumpy=True)._value


def test_our_forces_come_back_from_text_and_from_a_file(system, xml, tmp_path):
    path = tmp_path / "system.xml"
    path.write_text(xml)
    for source in (xml, path, str(path)):
        assert (forces(read_system(source)) == forces(system)).all()


@pytest.mark.parametrize("protocol", [4, 5])
def test_every_protocol_that_names_classes_is_read(ours, protocol):
    kind, arguments = pickled_force(digits(pickle.dumps(ours, protocol)))
    assert kind is PseudoForce and arguments == (ours.weights, ours.sha256, ours.molecule)


class Evil:
    """Leaves a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def compute(state):
    return 0.0, state.getPositions(asNumpy=True) * 0


def test_a_stranger_is_refused_and_not_run(xml, tmp_path):
    ran = tmp_path / "ran"
    with pytest.raises(FileFormatError, match="calls .*mkdir and is none of openmm-confgf's"):
        read_system(with_function(xml, digits(pickle.dumps(Evil(ran)))))
    with pytest.raises(FileFormatError, match="none of openmm-confgf's"):
        read_system(with_function(xml, digits(pickle.dumps(compute))))
    assert not ran.exists()


def test_a_stranger_in_the_clothes_of_ours_is_refused(ours, tmp_path):
    """As argument, before or after it: any step beside the one call."""
    ran, plain = tmp_path / "ran", pickle.dumps(ours, 4)
    strings = [arg for op, arg, _ in pickletools.genops(plain) if "UNICODE" in op.name]
    assert len(strings) == 5

    class Inside:
        def __reduce__(self):
            return PseudoForce, (Evil(ran), ours.sha256, ours.molecule)

    evil = pickle.dumps(Evil(ran), 4)
    for content in (pickle.dumps(Inside(), 4), pickle.dumps((Evil(ran), ours)), evil[:-1] + b"0" + plain[2:], plain[:-1] + b"0" + evil[2:]):
        with pytest.raises(FileFormatError):
            pickled_force(digits(content))
    other = plain.replace(b"PseudoForce", b"GraphForcex"[:11])
    with pytest.raises(FileFormatError, match="GraphForce"):
        pickled_force(digits(other))
    assert not ran.exists()


@pytest.mark.parametrize("function", ["", "zz", "80", "8004", "2e"])
def test_damaged_pickles_are_refused(xml, function):
    with pytest.raises(FileFormatError):
        read_system(with_function(xml, function))


def test_other_weights_are_refused(xml, ours):
    renamed = pickle.dumps(ours, 4).replace(ours.sha256.encode(), b"0" * 64)
    with pytest.raises(WeightsError, match="make the force again"):
        read_system(with_function(xml, digits(renamed)))
    missing = pickle.dumps(ours, 4).replace(b"\x8c\x06confgf", b"\x8c\x06absent")
    with pytest.raises(WeightsError, match="absent"):
        read_system(with_function(xml, digits(missing)))


def test_a_nested_force_is_found(xml, tmp_path):
    """A force that is a collective variable of another is run all the same."""
    force = openmm.CustomCVForce("2*inner")
    force.addCollectiveVariable("inner", openmm.PythonForce(compute))
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(force)
    with pytest.raises(FileFormatError, match="none of openmm-confgf's"):
        read_system(openmm.XmlSerializer.serialize(system))


def test_what_is_no_system_is_refused(tmp_path):
    integrator = openmm.XmlSerializer.serialize(openmm.VerletIntegrator(0.001))
    for text, message in ((integrator, "VerletIntegrator and no System"), ("<System>", "cannot be read"), ("<a/>", "no System")):
        with pytest.raises(FileFormatError, match=message):
            read_system(text)
    with pytest.raises(FileFormatError, match="none.xml"):
        read_system(tmp_path / "none.xml")


def test_systems_without_python_forces_are_read_as_they_are():
    plain = openmm.System()
    plain.addParticle(2.0)
    assert read_system(openmm.XmlSerializer.serialize(plain)).getParticleMass(0) == 2.0 * unit.dalton
