"""What `pip install` brings: the recorder alone, and an app that finds its script and its settings."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("experiment_explorer-*.whl"))


def run_installed(wheel, folder, *arguments):
    """Run Python on the unpacked wheel, with nothing of the repository on the path."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-P", *arguments]
    return subprocess.run(command, env=environment, cwd="/", check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_the_wheel_holds_the_app_with_its_settings_and_nothing_of_the_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        settings = archive.read("explorer/app/launch/.streamlit/config.toml")
    assert "explorer/app/launch/streamlit_app.py" in names
    assert settings == (ROOT / ".streamlit" / "config.toml").read_bytes()
    assert {name.split("/")[0] for name in names} == {"explorer", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}


@pytest.mark.slow
def test_an_installed_app_is_served_from_its_own_folder(wheel, tmp_path):
    code = "from explorer.cli import app_command; print(*app_command('logs'))"
    assert str(tmp_path / "explorer" / "app" / "launch" / "streamlit_app.py") in run_installed(
        wheel, tmp_path, "-c", code
    )


@pytest.mark.slow
def test_an_installed_package_runs_its_commands(wheel, tmp_path):
    (tmp_path / "logs").mkdir()
    assert "no runs" in run_installed(wheel, tmp_path, "-m", "explorer", "list", "--root", str(tmp_path / "logs"))
