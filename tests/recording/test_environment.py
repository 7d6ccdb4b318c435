import importlib.metadata
import json
import subprocess
import sys

import psutil
import torch

from explorer.recording.environment import describe_environment, describe_seed, list_variables, list_versions


def test_the_description_is_plain_json_and_names_what_ran():
    described = json.loads(json.dumps(describe_environment()))
    assert described["python"] == sys.version.split()[0]
    assert described["versions"]["torch"] == torch.__version__
    assert 1 <= described["cpu_count"] <= psutil.cpu_count()
    assert 0 < described["memory_bytes"] <= psutil.virtual_memory().total


def test_versions_agree_with_the_standard_library():
    for name, version in list_versions().items():
        assert importlib.metadata.version(name) == version


def test_the_first_folder_of_the_search_path_wins(tmp_path):
    for folder, version in (("a", "2.13.0+cpu"), ("b", "1.0")):
        (tmp_path / folder / f"torch-{version}.dist-info").mkdir(parents=True)
    (tmp_path / "b" / "scikit_learn-1.9.1.dist-info").mkdir()
    versions = list_versions([str(tmp_path / "a"), str(tmp_path / "gone"), str(tmp_path / "b")])
    assert versions == {"scikit-learn": "1.9.1", "torch": "2.13.0+cpu"}


def test_only_variables_that_steer_a_training_are_recorded():
    environment = {"HOME": "/home/me", "WANDB_API_KEY": "abc", "CUDA_VISIBLE_DEVICES": "0", "PYTHONHASHSEED": "7"}
    assert list_variables(environment) == {"CUDA_VISIBLE_DEVICES": "0", "PYTHONHASHSEED": "7"}


def test_the_seed_is_the_one_that_was_set():
    state = torch.get_rng_state()
    torch.manual_seed(1234)
    try:
        assert describe_seed()["torch"] == 1234
    finally:
        torch.set_rng_state(state)


def test_describing_imports_neither_torch_nor_pandas_and_starts_no_device():
    code = (
        "import sys; from explorer.recording.environment import describe_environment as d; d();"
        "from explorer.recording.system import SystemSampler as S; S('.').sample();"
        "assert not {'torch', 'pandas', 'pyarrow'} & set(sys.modules), 'imported too much';"
        "import torch; d(); S('.').sample(); assert not torch.cuda.is_initialized()"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
