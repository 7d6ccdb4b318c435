"""What a run ran on: machine, Python, installed packages, devices, seed.

Reads files and names only: starts no device and imports nothing that the training has not imported itself.
"""

import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from explorer.recording.redaction import redact

# Recorded when installed; beside these, every distribution whose module the process has imported.
# fmt: off
_PACKAGES = frozenset({
    "accelerate", "bitsandbytes", "datasets", "deepspeed", "diffusers", "einops", "experiment-explorer", "flash-attn",
    "hydra-core", "lightning", "numpy", "omegaconf", "pandas", "peft", "pillow", "pyarrow", "pytorch-lightning",
    "safetensors", "scikit-learn", "scipy", "timm", "tokenizers", "torch", "torch-geometric", "torchao", "torchaudio",
    "torchmetrics", "torchrec", "torchtext", "torchvision", "transformers", "triton", "xformers",
})
# fmt: on
# Modules that are not named like their distribution.
_MODULES = {
    "scikit-learn": "sklearn",
    "pillow": "pil",
    "hydra-core": "hydra",
    "pyyaml": "yaml",
    "flash-attn": "flash_attn",
}
# What decides how a training behaves. Everything else in the environment is nobody's business.
_VARIABLES = re.compile(
    r"(?:CUDA|NCCL|TORCH|PYTORCH|TORCHELASTIC|TORCHINDUCTOR|OMP|MKL|OPENBLAS|CUBLAS|CUDNN|HIP|ROCR|GLOO|TOKENIZERS|TRITON)_\w+"
    r"|PYTHONHASHSEED|(?:LOCAL_)?(?:RANK|WORLD_SIZE)|NODE_RANK|GROUP_RANK|SLURM_(?:JOB_ID|NODELIST|NTASKS|PROCID|ARRAY_TASK_ID)"
)
_DISTRIBUTION = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[^-]*)?\.(?:dist|egg)-info")


def describe_environment() -> dict[str, Any]:
    """The machine and the software of this process, as plain values for JSON.

    Returns:
        ``python``, ``platform``, ``hostname``, ``user`` (None when it has no name), ``executable``, ``cpu`` (model,
        None when unknown), ``cpu_count`` (CPUs this process may use), ``memory_bytes`` (of the machine, or the
        container's limit), ``devices`` (names of the accelerators, in order), ``cuda`` (version torch was built for,
        or None), ``versions`` (distribution name to version, sorted) and ``variables`` (the environment variables
        that steer a training). Takes a few milliseconds of CPU and never starts a device.
    """
    system = platform.uname()
    torch_version = getattr(loaded_torch(), "version", None)
    return {
        "python": platform.python_version(),
        "platform": f"{system.system} {system.release} {system.machine}",
        "hostname": system.node,
        "user": _user(),
        "executable": sys.executable,
        "cpu": _cpu_model(),
        "cpu_count": count_cpus(),
        "memory_bytes": memory_bytes(),
        "devices": list_devices(),
        "cuda": getattr(torch_version, "cuda", None),
        "versions": list_versions(),
        "variables": list_variables(os.environ),
    }


def loaded_torch() -> Any:  # noqa: ANN401 - torch is not imported here
    """Torch if this process has imported it; None as well while another thread is in the middle of that."""
    torch = sys.modules.get("torch")
    return None if getattr(getattr(torch, "__spec__", None), "_initializing", False) else torch


def describe_seed() -> dict[str, Any]:
    """Seeds of this process: ``torch`` (default generator) and ``python_hash`` (PYTHONHASHSEED); None when not set."""
    torch = loaded_torch()
    return {
        "torch": int(torch.initial_seed()) if torch is not None else None,
        "python_hash": os.environ.get("PYTHONHASHSEED"),
    }


def list_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that steer a training, sorted by name, without secrets.

    Example:
        >>> list_variables({"OMP_NUM_THREADS": "2", "HOME": "/home/me", "CUDA_TOKEN": "abc"})
        {'CUDA_TOKEN': '<redacted>', 'OMP_NUM_THREADS': '2'}
    """
    kept = {name: environment[name] for name in sorted(environment) if _VARIABLES.fullmatch(name)}
    redacted: dict[str, str] = redact(kept)
    return redacted


def list_versions(search_path: Iterable[str] | None = None) -> dict[str, str]:
    """Installed versions of the packages that matter to a training, sorted by name.

    Reads folder names only: `importlib.metadata` opens and parses a file for each package.

    Args:
        search_path: folders to look in, the first one wins; ``sys.path`` by default.
    """
    modules = {name.partition(".")[0].lower() for name in tuple(sys.modules)}
    versions: dict[str, str] = {}
    for folder in sys.path if search_path is None else search_path:
        for entry in _names(folder):
            if match := _DISTRIBUTION.fullmatch(entry):
                name = re.sub(r"[-_.]+", "-", match["name"]).lower()
                if name in _PACKAGES or _MODULES.get(name, name.replace("-", "_")) in modules:
                    versions.setdefault(name, match["version"])
    return dict(sorted(versions.items()))


def list_devices() -> list[str]:
    """Names of the accelerators of this process, in their order; empty without one.

    A device is asked only when the process uses it already. Otherwise the driver's own files tell what the machine has,
    in the order of the bus: asking torch would start the driver, after which a fork is no longer safe.
    """
    torch = loaded_torch()
    if torch is not None and torch.cuda.is_initialized():
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    names = []
    for gpu in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        model = re.search(r"^Model:\s*(.+?)\s*$", _read(gpu), re.MULTILINE)
        names.append(model[1] if model else "NVIDIA GPU")
    if not names and sys.platform == "darwin" and torch is not None and torch.backends.mps.is_available():
        names.append("Apple MPS")
    return names


def count_cpus() -> int:
    """Number of CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Memory of the machine, or the limit of the container when that is smaller; None when the system does not tell."""
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    return min(installed, int(limit)) if limit.isdecimal() else installed


def _user() -> str | None:
    for variable in ("LOGNAME", "USER", "USERNAME"):
        if name := os.environ.get(variable):
            return name
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return None


def _cpu_model() -> str | None:
    model = re.search(r"^model name\s*:\s*(.+?)\s*$", _read(Path("/proc/cpuinfo"), 4096), re.MULTILINE)
    return model[1] if model else platform.machine() or None


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except OSError:  # sys.path holds zip files and folders that are gone
        return []


def _read(path: Path, max_chars: int = 65_536) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(max_chars)
    except OSError:
        return ""
