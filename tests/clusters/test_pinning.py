import pytest

from openmm_confgf.clusters.pinning import pinned_device


@pytest.mark.parametrize(
    ("name", "listed", "devices", "pinned"),
    [
        ("0", None, 2, "0"),
        ("3", None, 2, "1"),
        ("1", "5,7", 0, "7"),
        ("SLURMCluster-4", "2", 8, "2"),
        ("SLURMCluster-4-1", "GPU-aa,GPU-bb", 8, "GPU-bb"),
        ("tcp://10.0.0.1:40001", "6,7,5", 8, "6"),
        ("node17", "6,7", 8, "6"),
    ],
)
def test_each_worker_has_its_device(name, listed, devices, pinned):
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert pinned_device(name, environment, devices) == {"CUDA_VISIBLE_DEVICES": pinned}


def test_workers_of_a_job_share_nothing():
    environment = {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert {pinned_device(f"PBSCluster-9-{k}", environment, 0)["CUDA_VISIBLE_DEVICES"] for k in range(4)} == {"0", "1", "2", "3"}


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_without_devices_nothing_is_set(environment):
    assert pinned_device("0", environment, 0) == {}
