"""Hands a thousand inputs, sound and spoiled, to the command line, and tells what went wrong: see README.md."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from openmm_confgf.tables import Column, Table

if TYPE_CHECKING:
    from inputs import Case

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

SECONDS = 10.0
"""CPU time on one core that a call may take."""

HANGS = 60.0
"""CPU time after which a call is ended."""

PATIENCE = 900.0
"""Wall-clock seconds after which it is ended in any case, or the start of a process: a machine may be busy."""

MEMORY = 8 * 2**30
"""Bytes that a call may ask for."""

NOISE = re.compile(r"HDF5-DIAG|Exception ignored|Warning: |^\[\d\d:\d\d:\d\d\]|core dumped|terminate called", re.MULTILINE)
"""What a library says to its own developers."""


@dataclasses.dataclass
class Outcome:
    """What became of one call.

    Attributes
    ----------
    code : int or None
        The exit code; None where the process died or was ended.
    seconds : float
        Of CPU time.
    findings : list of str
        What should not be; each begins with its kind and a colon.
    ok, perceived : int
        As in `perceive.Seen`.
    """

    code: int | None
    seconds: float
    findings: list[str]
    ok: int = 0
    perceived: int = 0


def main() -> int:
    arguments = _arguments()
    from inputs import Seeds, make_cases

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        runner = Runner(scratch)
        try:
            seeds = Seeds(
                arguments.shared, ROOT / "openmm_confgf" / "weights", scratch, lambda call: runner.run(Call("made", "made", tuple(call)))
            )
            outcomes = []
            for case in make_cases(seeds, arguments.inputs, arguments.seed):
                if int(case.name[:4]) < arguments.first or (arguments.only and case.kind != arguments.only and case.name != arguments.only):
                    continue
                call = Call(case.name, case.kind, case.arguments, case.output, case.asked, tuple(case.files))
                work = scratch / case.name
                work.mkdir()
                for name, data in case.files.items():
                    (work / name).write_bytes(data)
                apart = int(case.name[:4]) % arguments.apart == 0
                outcome = run_apart(call, work) if apart else runner.run(call)
                outcomes.append((case.kind, outcome))
                if outcome.findings:
                    _keep(arguments.output, case, outcome, work)
                    print(f"{case.name}: {'; '.join(outcome.findings)}   {' '.join(case.arguments)!r} {case.mutations}", flush=True)
                elif arguments.verbose:
                    print(f"{case.name}: exit {outcome.code}, {outcome.seconds:.1f} s", flush=True)
        finally:
            runner.close()
    print(table(outcomes))
    return int(any(outcome.findings for _, outcome in outcomes))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first input, where an earlier run ended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with cases, data and tools")
    parser.add_argument("--output", type=Path, default=Path("fuzz_findings"), help="where inputs go that something is wrong with")
    parser.add_argument("--apart", type=int, default=25, help="every so many inputs, a process of its own as a user would start it")
    parser.add_argument("--only", help="a kind of input, or the name of one")
    parser.add_argument("--verbose", action="store_true", help="a line for each input")
    return parser.parse_args()


@dataclasses.dataclass(frozen=True)
class Call:
    """What a worker is told: a folder to run in, by its name, and the arguments."""

    name: str
    kind: str
    arguments: tuple[str, ...]
    output: str | None = None
    asked: str | None = None
    files: tuple[str, ...] = ()


class Runner:
    """Runs calls one after the other in a process that has imported everything, and in a new one when that dies or hangs."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def run(self, call: Call) -> Outcome:
        if self._process is None:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_work, args=(theirs, str(self._scratch)), daemon=True)
            self._process.start()
            theirs.close()
            if (start := self._receive(None)).findings:
                return start
        assert self._pipe is not None
        self._pipe.send(call)
        return self._receive(call)

    def _receive(self, call: Call | None) -> Outcome:
        assert self._pipe is not None and self._process is not None
        deadline, before = time.monotonic() + PATIENCE, _cpu_seconds_of(self._process.pid)
        while not self._pipe.poll(0.5):
            used = _cpu_seconds_of(self._process.pid) - before
            if (call and used > HANGS) or time.monotonic() > deadline:
                self.close()
                return Outcome(None, used, [f"slow: ended after {used:.0f} s"])
        try:
            outcome: Outcome = self._pipe.recv()
            return outcome
        except EOFError:
            self._process.join()
            died = f"crash: the process died with {self._process.exitcode}"
            self._process = None
            return Outcome(None, 0.0, [died])

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None


def _work(pipe: Connection, scratch: str) -> None:
    """The loop of a worker: its own stdout and stderr, also of libraries in C, go to files of the call."""
    os.environ["OMP_NUM_THREADS"] = "1"
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(scratch)
    os.makedirs("warm", exist_ok=True)
    _in_process(Call("warm", "warm", ("generate", "CCO", "-n", "1", "-o", "warm.sdf")))
    os.chdir(scratch)
    _in_process(Call("warm", "warm", ("score", "warm.sdf", "--platform", "Reference")))
    pipe.send(Outcome(0, 0.0, []))
    while True:
        call = pipe.recv()
        os.chdir(scratch)
        os.makedirs(call.name, exist_ok=True)
        pipe.send(_in_process(call))


def _in_process(call: Call) -> Outcome:
    import traceback

    from openmm_confgf.cli.app import main as command_line

    os.chdir(call.name)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    start = _cpu_seconds()
    try:
        command_line(list(call.arguments))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # what Python itself would print
        traceback.print_exc()
        code = 1
    seconds = _cpu_seconds() - start
    sys.stdout.flush()
    sys.stderr.flush()
    for number, copy in zip((1, 2), kept, strict=True):
        os.dup2(copy, number)
        os.close(copy)
    return judge(call, Path.cwd(), code, seconds)


def _cpu_seconds_of(pid: int | None) -> float:
    """Of another process and those of its children that ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it is gone, which its pipe tells
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _cpu_seconds() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run_apart(call: Call, work: Path) -> Outcome:
    """In a process of its own, less what importing everything takes."""
    start_up = _start_up()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (work / "stdout").open("wb") as out, (work / "stderr").open("wb") as error:
        try:
            command = [sys.executable, "-m", "openmm_confgf", *call.arguments]
            code: int | None = subprocess.run(command, cwd=work, env=ENVIRONMENT, stdout=out, stderr=error, timeout=PATIENCE).returncode
        except subprocess.TimeoutExpired:
            return Outcome(None, PATIENCE, [f"slow: ended after {PATIENCE:.0f} s"])
        except ValueError:  # a NUL, which no shell can pass on either
            return Outcome(2, 0.0, [])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if code is not None and code < 0:
        return Outcome(None, seconds, [f"crash: the process died with {code}"])
    return judge(call, work, code, max(0.0, seconds - start_up))


@functools.cache
def _start_up() -> float:
    """CPU time of a process that generates one conformer of ethanol: imports, mostly."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "openmm_confgf", "generate", "CCO", "-n", "1"]
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def judge(call: Call, work: Path, code: int | None, seconds: float) -> Outcome:
    """What is wrong with how a call ended and with what it wrote."""
    from perceive import look

    said = (work / "stderr").read_text(errors="replace")
    findings = []
    if "Traceback" in said or "Traceback" in (work / "stdout").read_text(errors="replace"):
        findings.append(f"traceback: {said.strip().splitlines()[-1][:200]}")
    if code not in (0, 1, 2):
        findings.append(f"code: exit {code}")
    if seconds > SECONDS:
        findings.append(f"slow: {seconds:.1f} s")
    if found := NOISE.search(said):
        line = next(line for line in said.splitlines() if found.group() in line)
        findings.append(f"noise: {line[:200]}")
    explained = re.search(r"^(error|failed): ", said, re.MULTILINE) or said.startswith("Usage: ")
    if code in (1, 2) and not explained:
        findings.append(f"silent: exit {code} and {said.strip()[-200:]!r}")
    if len([line for line in said.splitlines() if line.startswith("error: ")]) > 1:
        findings.append("silent: more than one error line")
    outcome = Outcome(code, seconds, findings)
    output = work / call.output if call.output else None
    if output is not None and output.exists():
        source = next((work / name for name in call.files if name.endswith((".sdf", ".pdb"))), None)
        try:
            seen = look(output, call.asked, source)
        except Exception as error:  # whatever RDKit makes of an output that is no SDF
            findings.append(f"differs: the output cannot be read: {str(error).strip().splitlines()[0]}")
        else:
            outcome.ok, outcome.perceived = seen.ok, seen.perceived
            findings += [f"differs: {difference}" for difference in seen.differences[:3]]
    if leftovers := [path.name for path in work.rglob("*") if "partial" in path.name and path.is_file()]:
        findings.append(f"left: {', '.join(leftovers)}")
    return outcome


def _keep(folder: Path, case: Case, outcome: Outcome, work: Path) -> None:
    """The input, the output and what was said, in a folder of the case's name."""
    kept = folder / case.name
    kept.mkdir(parents=True, exist_ok=True)
    for path in work.iterdir():
        if path.is_file():
            (kept / path.name).write_bytes(path.read_bytes())
    why = {"arguments": case.arguments, "mutations": case.mutations, **dataclasses.asdict(outcome)}
    (kept / "why.json").write_text(json.dumps(why, indent=1))


def table(outcomes: list[tuple[str, Outcome]]) -> str:
    """Counts for each kind of input, as Markdown."""
    wrong = ("traceback", "crash", "slow", "code", "silent", "noise", "left", "differs")
    headings = ("calls", "exit 0", "exit 1", "exit 2", "slowest, s", "OK samples", "perceived", *wrong)
    rows = []
    kinds = list(dict.fromkeys(kind for kind, _ in outcomes))
    for kind in (*kinds, "all"):
        of_kind = [outcome for other, outcome in outcomes if kind in (other, "all")]
        codes = Counter(outcome.code for outcome in of_kind)
        found = Counter(name for outcome in of_kind for name in {finding.split(":")[0] for finding in outcome.findings})
        cells = [kind, len(of_kind), codes[0], codes[1], codes[2], f"{max((o.seconds for o in of_kind), default=0):.1f}"]
        cells += [sum(o.ok for o in of_kind), sum(o.perceived for o in of_kind), *(found[name] for name in wrong)]
        rows.append(cells)
    return Table([Column("input", align="left"), *map(Column, headings)], rows).to_markdown()


if __name__ == "__main__":
    sys.exit(main())
