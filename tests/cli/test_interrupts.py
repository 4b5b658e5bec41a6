import signal
import subprocess
import sys

import pytest

from openmm_confgf.cli.interrupts import ctrl_c_for_python_only

WHILE_RDKIT_EMBEDS = """
import os, signal, threading, time
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from openmm_confgf.cli.interrupts import ctrl_c_for_python_only
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with Ctrl-C ignored
mol = Chem.AddHs(Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1CCCCC"))
embedded = 0
try:
    with ctrl_c_for_python_only():
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        stop = time.monotonic() + 60
        while time.monotonic() < stop:
            embedded = len(rdDistGeom.EmbedMultipleConfs(mol, 50, randomSeed=1))
            assert embedded == 50, f"RDKit saw the signal: {embedded}"
except KeyboardInterrupt:
    print("interrupted after", embedded)
"""


def test_rdkit_does_not_swallow_ctrl_c():
    done = subprocess.run([sys.executable, "-c", WHILE_RDKIT_EMBEDS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("interrupted after")


def test_signals_are_as_before_afterwards():
    before, handler = signal.pthread_sigmask(signal.SIG_BLOCK, ()), signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="inside"), ctrl_c_for_python_only():
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
        raise ValueError("inside")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert signal.getsignal(signal.SIGINT) == handler
