"""What the documents say is true: their code runs, their files exist, their commands are understood."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from explorer import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "logs/README.md")]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = {
    language: re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    for language in ("python", "bash")
}
COMMANDS = [
    shlex.split(command, comments=True)
    for block in BLOCKS["bash"]
    for line in block.splitlines()
    for command in line.split("&&")
]


def test_the_readme_shows_code_and_commands():
    assert len(BLOCKS["python"]) >= 2
    assert len(COMMANDS) >= 8


def test_the_code_in_the_readme_runs_in_the_order_it_is_shown(tmp_path):
    for code in BLOCKS["python"]:
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
    assert "train/loss" in run.stdout


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[:3] == ["python", "-m", "explorer"]])
def test_a_command_in_the_readme_is_understood(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*words[3:], "--help"])
    assert stopped.value.code == 0
    assert "usage: python -m explorer" in capsys.readouterr().out


def test_every_command_of_the_program_is_in_the_readme(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    offered = set(re.findall(r"^    (\w+)  ", capsys.readouterr().out, re.MULTILINE))
    assert offered == {words[3] for words in COMMANDS if words[:3] == ["python", "-m", "explorer"]}


def test_the_files_that_commands_name_exist():
    named = [word for words in COMMANDS for word in words if word.endswith((".txt", ".py"))]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_table_of_files_is_true_and_names_every_folder_of_the_package():
    table = README[README.index("## What is where") : README.index("## Develop")]
    named = re.findall(
        r"`([^`]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("|"))
    )
    assert [name for name in named if not (ROOT / name).exists()] == []
    folders = {path.parent.name for path in (ROOT / "explorer").glob("*/__init__.py")}
    assert {name.split("/")[1] for name in named if name.startswith("explorer/")} == folders


def test_every_page_of_the_app_is_in_the_readme():
    pages = {path.stem for path in (ROOT / "explorer" / "app" / "pages").glob("*.py")} - {"__init__"}
    section = README[README.index("## Look at it") : README.index("## In a notebook")]
    assert pages == {name.lower() for name in re.findall(r"^\| (\w+) \|", section, re.MULTILINE)} - {"page"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (document.parent / target).exists()] == []


def test_requirements_hold_everything_the_package_can_need():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]

    def names(requirements):
        return {re.match(r"[\w-]+", requirement)[0] for requirement in requirements}

    assert names(pinned) == names(needed)
    assert "torch==2.13.*" in pinned
    assert all(re.search(r"[<=]", line) for line in pinned), "a requirement without an upper bound"
