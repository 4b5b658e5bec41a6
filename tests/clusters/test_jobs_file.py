import pytest
import yaml

from openmm_confgf.clusters.jobs_file import read_jobs_file
from openmm_confgf.errors import FileFormatError

TOLD = {"queue": "slurm", "memory": "16 GB", "walltime": "04:00:00", "maximum_jobs": 20}


@pytest.fixture
def written(tmp_path):
    def write(**told):
        path = tmp_path / "jobs.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in (TOLD | told).items() if value is not ...}))
        return path

    return write


@pytest.fixture
def script(written):
    """The job script that dask-jobqueue would submit for a file."""
    dask_jobqueue = pytest.importorskip("dask_jobqueue")

    def of(**told):
        kind, options = read_jobs_file(written(**told)).for_jobqueue("/envs/confgf/bin/python")
        job = getattr(dask_jobqueue, kind).job_cls
        names = ("interface", "scheduler_options")
        return job("tcp://10.0.0.1:1", "w", **{name: value for name, value in options.items() if name not in names}).job_script()

    return of


FULL = {"partition": "short", "account": "chem", "gpus": 4, "prologue": ["module load cuda"], "directives": ["--exclusive"]}


def test_slurm(script):
    lines = script(**FULL, cores=8).splitlines()
    for line in ("-p short", "-A chem", "-n 1", "--cpus-per-task=8", "--mem=15G", "-t 04:00:00", "--gres=gpu:4", "--exclusive"):
        assert f"#SBATCH {line}" in lines
    assert lines.index("module load cuda") == len(lines) - 2
    command = lines[-1].split()
    assert command[:4] == ["/envs/confgf/bin/python", "-m", "distributed.cli.dask_worker", "tcp://10.0.0.1:1"]
    # a worker of one thread for each GPU, under a nanny
    options = dict(zip(command[4::2], command[5::2], strict=False))
    assert options["--nthreads"] == "1" and options["--nworkers"] == "4" and options["--memory-limit"] == "3.73GiB"
    assert "--nanny" in command


def test_slurm_without_gpus_has_one_worker_and_one_core(script):
    text = script()
    assert "gpu" not in text and "#SBATCH --cpus-per-task=1" in text and "--nworkers" not in text


def test_pbs(script):
    text = script(**FULL, queue="pbs", walltime="12:00:00")
    for line in ("-q short", "-A chem", "-l select=1:ncpus=4:mem=16000MB:ngpus=4", "-l walltime=12:00:00"):
        assert f"#PBS {line}\n" in text


def test_sge(script):
    text = script(**FULL, queue="sge", sge_parallel_environment="smp")
    for line in ("-q short", "-P chem", "-l h_vmem=4000M,gpu=4", "-l h_rt=04:00:00", "-pe smp 4"):
        assert f"#$ {line}\n" in text


def test_lsf(script):
    text = script(**FULL, queue="lsf", walltime="04:00")
    for line in ("-q short", '-P "chem"', "-n 4", '-R "span[hosts=1]"', "-M 16000", "-W 04:00", '-gpu "num=4"'):
        assert f"#BSUB {line}\n" in text


def test_as_many_workers_as_jobs_have_gpus(written):
    found = read_jobs_file(written(gpus=4, minimum_jobs=2))
    assert (found.workers_per_job, found.cores, found.workers, found.minimum_jobs) == (4, 4, 80, 2)
    assert read_jobs_file(written(workers_per_job=3)).workers == 60


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"queue": "cron"}, "queue is 'cron'; give slurm, pbs, sge, lsf"),
        ({"walltime": ...}, "lacks walltime"),
        ({"walltime": 14400}, "walltime is no line of text; put it in quotes"),
        ({"walltime": "tomorrow"}, "walltime is 'tomorrow'"),
        ({"memory": "much"}, "memory is 'much'"),
        ({"memory": "0 GB"}, "memory is '0 GB'"),
        ({"maximum_jobs": 0}, "maximum_jobs 0"),
        ({"maximum_jobs": True}, "maximum_jobs is no whole number"),
        ({"maximum_jobs": 2.5}, "maximum_jobs is no whole number"),
        ({"maximum_jobs": 1, "minimum_jobs": 2}, "minimum_jobs is 2"),
        ({"gpus": -1}, "gpus is -1"),
        ({"cores": 2, "workers_per_job": 3}, "2 cores for 3 workers"),
        ({"partition": "short\n#SBATCH --evil"}, "partition is no line of text"),
        ({"prologue": "module load cuda"}, "prologue is no list of lines"),
        ({"prologue": [["a"]]}, "prologue is no line of text"),
        ({"wall_time": "1:00"}, "'wall_time', which is unknown; the names are queue, memory"),
    ],
)
def test_what_is_wrong_is_named(written, told, words):
    with pytest.raises(FileFormatError) as error:
        read_jobs_file(written(**told))
    assert words in str(error.value) and str(error.value).count("\n") == 0


def test_several_cores_of_sge_need_their_name(written):
    with pytest.raises(FileFormatError, match="sge_parallel_environment"):
        read_jobs_file(written(queue="sge", cores=2)).for_jobqueue("python")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"queue: [slurm", "no YAML"),
        (b"\xff\xfe", "no YAML"),
        (b"- slurm", "no list of names"),
        (b"", "no list of names"),
        (b"!!python/object/apply:os.system ['touch ran']", "no YAML"),
        (b"a: &a [x]\nb: &b [*a, *a]\nqueue: *b", "unknown"),
        (b"queue: slurm\n" + b"#" * 70_000, "more than 65536 bytes"),
        (b"[" * 5000, "no YAML"),
        (b"2020-13-45: x", "no YAML"),
    ],
)
def test_files_of_strangers(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.yaml").write_bytes(content)
    with pytest.raises(FileFormatError, match=words) as error:
        read_jobs_file(tmp_path / "jobs.yaml")
    assert len(str(error.value)) < 600 and not (tmp_path / "ran").exists()


def test_many_aliases_of_aliases_are_no_memory(tmp_path):
    lines = ["a0: &a0 [x, x]", *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 40)), "queue: *a39"]
    (tmp_path / "jobs.yaml").write_text("\n".join(lines))
    with pytest.raises(FileFormatError, match="unknown"):
        read_jobs_file(tmp_path / "jobs.yaml")
    (tmp_path / "jobs.yaml").write_text("\n".join(["prologue:", *(f"- {line.partition(' ')[2]}" for line in lines)]))
    with pytest.raises(FileFormatError, match="lacks"):
        read_jobs_file(tmp_path / "jobs.yaml")
