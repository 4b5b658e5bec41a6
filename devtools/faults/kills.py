"""Kills commands at random moments, starts them again, and compares with what nobody disturbed: see README.md."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jobs import Job, Results, make_jobs, prepare

from openmm_confgf.tables import Column, Table

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

PATIENCE = 600.0
"""Seconds after which a run counts as hanging."""

WIND_UP = 30.0
"""Seconds that a command has to end after SIGTERM, and its worker processes after it."""


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed: its folder, how long it took, and how many things were seen finished before its end."""

    folder: Path
    seconds: float
    steps: int


@dataclasses.dataclass
class Trial:
    """One run that was killed, once or twice.

    Attributes
    ----------
    job : str
    kills : list of str
        Each signal and after how many seconds.
    saved : int
        What was finished when it was killed last.
    findings : list of str
    """

    job: str
    kills: list[str] = dataclasses.field(default_factory=list)
    saved: int = 0
    findings: list[str] = dataclasses.field(default_factory=list)


def main() -> int:
    arguments = _arguments()
    rng = random.Random(arguments.seed)
    jobs = make_jobs()
    names = arguments.job or list(jobs)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        inputs.mkdir()
        prepare(inputs, arguments.shared, arguments.seed)
        if "score" in names:
            _whole(jobs["generate"], inputs, inputs, "conformers.sdf")
        undisturbed = {}
        for name in names:
            work = _fresh(inputs, Path(folder) / f"{name}-undisturbed")
            undisturbed[name] = Undisturbed(work, *_whole(jobs[name], work, work, None))
            print(
                f"{name}: {undisturbed[name].seconds:.0f} s undisturbed, {undisturbed[name].steps} things finished on the way", flush=True
            )
        trials = []
        for number in range(arguments.kills):
            job = jobs[names[number % len(names)]]
            first = (signal.SIGTERM, signal.SIGKILL)[number // len(names) % 2]
            work = _fresh(inputs, Path(folder) / f"{number:03d}")
            trial = attempt(job, work, first, undisturbed[job.name], rng)
            print(f"{number:03d} {job.name} {', '.join(trial.kills)}: {'; '.join(trial.findings) or 'right'}", flush=True)
            trials.append(trial)
            if trial.findings:
                shutil.copytree(work, arguments.output / work.name, dirs_exist_ok=True)
            shutil.rmtree(work)
    print(table(trials))
    return int(any(trial.findings for trial in trials))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", action="append", help="only this command; repeatable")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared", help="folder with data and tools")
    parser.add_argument("--output", type=Path, default=Path("kill_findings"), help="where the folders go in which something is wrong")
    return parser.parse_args()


def attempt(job: Job, work: Path, first: signal.Signals, undisturbed: Undisturbed, rng: random.Random) -> Trial:
    """Start, kill, start again, perhaps kill again, until it ends by itself; then compare."""
    trial, expected = Trial(job.name), undisturbed.folder
    kept: Results = {}
    signals = [first, *([rng.choice([signal.SIGTERM, signal.SIGKILL])] if rng.random() < 0.3 else [])]
    resuming = tuple(option for option in job.resuming if option in _help(job.arguments[0]))
    for number, how in enumerate(signals):
        process = _start(job, work, resuming if number else ())
        start = time.monotonic()
        if not _wait(process, job, work, len(kept), undisturbed, rng):
            break
        process.send_signal(how)
        trial.kills.append(f"{how.name} at {time.monotonic() - start:.1f} s")
        try:
            code = process.wait(WIND_UP)
        except subprocess.TimeoutExpired:
            trial.findings.append(f"does not end within {WIND_UP:.0f} s of {how.name}")
            process.kill()
            code = process.wait()
        trial.findings += _after(job, work, how, code, process.pid, expected)
        now = job.kept(work)
        if now or _unequal(job.results(work), job.results(expected)):  # else the signal came when all was done and tidied up
            trial.findings += _lost(kept, now)
        kept, trial.saved = now, max(trial.saved, len(now))
    process = _start(job, work, resuming if trial.kills else ())
    watched: Results = {}
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        watched |= job.kept(work)
        trial.findings += _lost({name: when for name, when in kept.items() if name in watched}, watched)
        time.sleep(0.05)
    if process.poll() is None:
        trial.findings.append(f"does not end within {PATIENCE:.0f} s")
        process.kill()
    if process.wait() != 0:
        said = (work / "stderr").read_text(errors="replace").strip().splitlines()
        trial.findings.append(f"exit {process.returncode} when started again: {said[-1] if said else ''}")
    trial.findings += _unequal(job.results(work), job.results(expected))
    if extra := _files(work) - _files(expected):
        trial.findings.append(f"left behind: {', '.join(sorted(extra))}")
    trial.findings = list(dict.fromkeys(trial.findings))
    return trial


def _start(job: Job, work: Path, more: tuple[str, ...]) -> subprocess.Popen[bytes]:
    with (work / "stdout").open("wb") as out, (work / "stderr").open("wb") as error:
        command = [sys.executable, "-m", "openmm_confgf", *job.arguments, *more]
        return subprocess.Popen(command, cwd=work, env=ENVIRONMENT, stdout=out, stderr=error, start_new_session=True)


def _wait(process: subprocess.Popen[bytes], job: Job, work: Path, before: int, undisturbed: Undisturbed, rng: random.Random) -> bool:
    """Until a random moment, whether the process still runs then: of all its time, or shortly after some thing is finished."""
    deadline = time.monotonic() + (rng.uniform(0.1, 1.0) * undisturbed.seconds if rng.random() < 0.3 else PATIENCE)
    wanted, more = before + rng.randint(1, max(1, undisturbed.steps - 1)), rng.uniform(0, 0.5)
    while process.poll() is None and time.monotonic() < deadline:
        if undisturbed.steps and len(job.kept(work)) >= min(wanted, undisturbed.steps):
            time.sleep(more)
            break
        time.sleep(0.02)
    return process.poll() is None


def _whole(job: Job, work: Path, target: Path, name: str | None) -> tuple[float, int]:
    """Run to the end, and give the output another name if asked to; seconds, and how many things were finished on the way."""
    start, steps = time.monotonic(), 0
    process = _start(job, work, ())
    while process.poll() is None and time.monotonic() - start < PATIENCE:
        steps = max(steps, len(job.kept(work)))
        time.sleep(0.02)
    if process.poll() != 0:
        process.kill()
        sys.exit(f"{job.name} fails undisturbed: {(work / 'stderr').read_text()}")
    if name is not None:
        (work / job.output).rename(target / name)
    return time.monotonic() - start, steps


def _fresh(inputs: Path, work: Path) -> Path:
    shutil.copytree(inputs, work)
    return work


@functools.cache
def _help(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "openmm_confgf", command, "--help"], env=ENVIRONMENT, capture_output=True, text=True
    ).stdout


def _after(job: Job, work: Path, how: signal.Signals, code: int, pid: int, expected: Path) -> list[str]:
    """What is wrong right after a kill."""
    findings = []
    if remaining := _session(pid):
        findings.append(f"processes {remaining} outlive it")
        for one in remaining:
            os.kill(one, signal.SIGKILL)
    try:
        found, right = job.results(work), job.results(expected)
    except Exception as error:  # whatever a library raises of a damaged file
        return [*findings, f"its output cannot be read: {error}"]
    # frames and weights of a run that is under way are others than in the end
    if job.output.endswith(".sdf") and (wrong := [name for name in found if found[name] != right.get(name)]):
        findings.append(f"{len(wrong)} records of its output are not those of an undisturbed run")
    if how == signal.SIGTERM:
        said = (work / "stderr").read_text(errors="replace")
        if "Traceback" in said:
            findings.append(f"a traceback: {said.strip()[-2000:]}")
        # before Python has read the package, a signal ends the process as it ends any other
        if code not in (0, 130, 143, -signal.SIGTERM):
            findings.append(f"exit {code} after SIGTERM: {said.strip()[-200:]}")
        if hidden := [path.name for path in work.rglob(".*") if path.is_file()]:
            findings.append(f"temporary files: {', '.join(hidden)}")
        # who is stopped before the work begins writes nothing, and what an earlier run finished stays where it is kept
        begun = "stopped by" not in said
        written, finished = len({name.split("/")[0] for name in found}), len(job.kept(work))
        if job.output.endswith(".sdf") and begun and written < finished:
            findings.append(f"its output holds {written} of {finished} finished molecules")
    return findings


def _session(pid: int) -> list[int]:
    """Processes of the session that outlive its first one; they have `WIND_UP` seconds to notice."""
    deadline = time.monotonic() + WIND_UP
    while found := [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and _session_of(entry) == pid]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return found


def _session_of(entry: Path) -> int | None:
    try:
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return None
    return None if fields[0] == "Z" else int(fields[3])


def _lost(before: Results, now: Results) -> list[str]:
    """What was finished and is gone, or was made again."""
    again = [name for name in before if name in now and now[name] != before[name]]
    gone = [name for name in before if name not in now]
    findings = [f"made again: {', '.join(again[:3])}"] if again else []
    return findings + ([f"lost: {', '.join(gone[:3])}"] if gone else [])


def _unequal(found: Results, right: Results) -> list[str]:
    if not found:
        return ["no results"]
    different = sorted(name for name in found.keys() | right.keys() if found.get(name) != right.get(name))
    return [f"not equal to an undisturbed run: {', '.join(different[:5])} ({len(different)} of {len(right)})"] if different else []


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def table(trials: list[Trial]) -> str:
    """Counts for each command, as Markdown."""
    headings = ("kills", "SIGTERM", "SIGKILL", "runs with something finished", "runs with a finding")
    rows = []
    for name in (*dict.fromkeys(trial.job for trial in trials), "all"):
        own = [trial for trial in trials if name in (trial.job, "all")]
        kills = [kill for trial in own for kill in trial.kills]
        counts = [sum(kill.startswith(how) for kill in kills) for how in ("SIGTERM", "SIGKILL")]
        rows.append([name, len(kills), *counts, sum(trial.saved > 0 for trial in own), sum(bool(trial.findings) for trial in own)])
    return Table([Column("command", align="left"), *map(Column, headings)], rows).to_markdown()


if __name__ == "__main__":
    sys.exit(main())
