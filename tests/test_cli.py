import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from explorer import Recorder, cli

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A root with a healthy run and one that diverged, whose name tries to steer the terminal."""
    root = tmp_path_factory.mktemp("runs")
    with Recorder("healthy", root=root, system_every_s=None) as rec:
        for step in range(50):
            rec.log({"loss": 1 / (step + 1)}, step=step)
    with Recorder("evil \x1b[31m\u202e", root=root, system_every_s=None) as rec:
        rec.log({"loss": float("nan")}, step=0)
    return root


def call(*arguments):
    return cli.main([str(argument) for argument in arguments])


def test_list_shows_every_run_with_the_metrics_asked_for(runs, capsys):
    assert call("list", "--root", runs, "--metric", "loss", "--metric", "accuracy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "run",
        "name",
        "state",
        "created",
        "duration_s",
        "last_step",
        "rows",
        "loss",
        "accuracy",
    ]
    healthy = next(line for line in lines if line.startswith("healthy"))
    assert re.search(r"finished .* 49 +50 +0\.02 +-$", healthy)
    assert len(lines) == 3


def test_list_gives_scripts_one_json_object_per_line(runs, capsys):
    assert call("list", "--root", runs, "--metric", "loss", "--json") == 0
    rows = [json.loads(line, parse_constant=pytest.fail) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"]: row["loss"] for row in rows} == {"healthy": 0.02, "evil \x1b[31m\u202e": "NaN"}


def test_nothing_that_a_run_says_can_steer_the_terminal(runs, capsys):
    assert call("list", "--root", runs) == 0
    printed = capsys.readouterr().out
    assert "evil" in printed
    assert not set("\x1b\u202e") & set(printed)


def test_an_empty_root_says_how_to_start(tmp_path, capsys):
    assert call("list", "--root", tmp_path) == 0
    assert "python -m explorer demo" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_missing_root_is_one_clear_line(tmp_path, capsys, command):
    assert call(command, "--root", tmp_path / "gone") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(tmp_path / "gone") in said
    assert len(said.splitlines()) == 1


def test_verify_finds_whole_runs_whole(runs, capsys):
    assert call("verify", "--root", runs) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 runs checked, all whole"


def test_verify_names_the_damaged_file_of_the_damaged_run(runs, tmp_path, capsys):
    with Recorder("hit", root=tmp_path, system_every_s=None) as rec:
        for step in range(1000):
            rec.log({"loss": step**0.5}, step=step)
    segment = next(Path(rec.path).glob("scalars/*.parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 4
    segment.write_bytes(content)
    assert call("verify", "--root", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"damaged {rec.run_id}"
    assert lines[1].strip().startswith(f"scalars/{segment.name}: ")
    assert lines[-1] == "1 run checked, 1 damaged"


def test_verify_takes_ids_and_folders(runs, capsys):
    folder = next(path for path in runs.iterdir() if path.name.startswith("healthy"))
    assert call("verify", "--root", runs, folder.name) == 0
    assert call("verify", folder) == 0
    assert capsys.readouterr().out.count("1 run checked") == 2


def test_verify_does_not_know_a_run_that_is_not_there(runs, capsys):
    assert call("verify", "--root", runs, "../healthy") == 2
    assert "no run '../healthy'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["fly"], ["list", "--colour"], ["app", "--port", "many"]])
def test_a_wrong_command_line_explains_itself(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    assert "usage: python -m explorer" in capsys.readouterr().err


def test_a_reader_that_closes_the_pipe_early_is_no_error(runs):
    command = f"{sys.executable} -m explorer list --root {runs} | head -c 1"
    run = subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], cwd=ROOT, capture_output=True, check=False)
    assert b"Traceback" not in run.stderr


def test_the_app_is_served_on_this_machine_only_and_ends_with_the_terminal(tmp_path):
    command = [sys.executable, "-m", "explorer", "app", "--root", tmp_path, "--no-browser", "--port", "0"]
    port = _free_port()
    command[-1] = str(port)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            _wait_for(f"http://127.0.0.1:{port}/_stcore/health")
            addresses = _listening_addresses(server.pid)
            assert addresses == {"127.0.0.1"}
        finally:
            server.send_signal(signal.SIGINT)
            said, _ = server.communicate(timeout=30)
    assert "Traceback" not in said


def test_the_folder_that_the_app_is_started_in_gives_no_code(tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('ran')")
    (tmp_path / "streamlit.py").write_text("raise SystemExit('ran')")
    assert "-P" in cli.app_command(tmp_path)


@pytest.mark.parametrize(("command", "extra"), [("app", "app"), ("demo", "demo")])
def test_a_missing_package_is_named_with_the_way_to_install_it(tmp_path, capsys, monkeypatch, command, extra):
    monkeypatch.setattr(cli.importlib.util, "find_spec", lambda name: None)
    assert call(command, "--root", tmp_path) == 2
    assert f"pip install 'experiment-explorer[{extra}]'" in capsys.readouterr().err


def _free_port():
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def _wait_for(url):
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer in 30 s")


def _listening_addresses(pid):
    import psutil

    connections = psutil.Process(pid).net_connections(kind="inet")
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_what_runs_models_is_told_to_the_app(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(cli.os, "execv", lambda _, command: started.append(command))
    monkeypatch.chdir(tmp_path)
    call("app", "--root", tmp_path, "--factory", "my.models:make", "--time-limit", "5", "--memory-limit", "0.5")
    after = started[0][started[0].index("--") + 1 :]
    assert after[2:6] == ["--factory", "my.models:make", "--factory-folder", str(tmp_path)]
    assert after[6:] == ["--time-limit", "5.0", "--memory-limit", "0.5"]
    call("app", "--root", tmp_path)
    assert started[1][started[1].index("--") + 1 :] == ["--root", str(tmp_path)]


@pytest.mark.parametrize(("option", "value"), [("--factory", "os"), ("--time-limit", "0"), ("--memory-limit", "much")])
def test_options_that_are_none_are_refused(tmp_path, capsys, monkeypatch, option, value):
    monkeypatch.setattr(cli.os, "execv", lambda *_: pytest.fail("the app was started"))
    with contextlib.suppress(SystemExit):  # of argparse
        assert call("app", "--root", tmp_path, option, value) == 2
    assert value in capsys.readouterr().err
