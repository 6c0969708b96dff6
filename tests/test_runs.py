"""Tests of the run folder: its contents, and refusals of a missing, foreign, damaged or busy one."""

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tallystick import provenance, runs, storage, tasks
from tallystick.config import configure
from tallystick.training import loop

ROOT = Path(__file__).parents[1]
SMALL = {"batch_size": "4", "seq_len": "64", "validate_every": "4", "train_length": "3"}
MINE = ROOT / "examples" / "my_task.py"


@pytest.fixture
def folder(tmp_path, lookup_run):
    return shutil.copytree(lookup_run, tmp_path / "copy")


@pytest.fixture(scope="module")
def interrupted_run(tmp_path_factory):
    """Return a run that was interrupted after its first validation: 4 of 8 steps, two data workers."""
    path = tmp_path_factory.mktemp("runs") / "interrupted"
    overrides = SMALL | {"min_margin": "99", "workers": "2"}

    def report(row):
        if row["step"] == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(path, configure(tasks.load("reverse"), "mamba2:tiny", overrides, steps=8), report)
    return path


@pytest.fixture
def interrupted(tmp_path, interrupted_run):
    return shutil.copytree(interrupted_run, tmp_path / "interrupted")


ROW = {
    "length": 5,
    "worst_cases": False,
    "mode": "verify",
    "seed": 0,
    "samples": 2,
    "exact": 2,
    "answer": None,
    "score": None,
    "token_accuracy": 1,
    "ci95": [0.3, 1.0],
    "model_tokens": 90,
    "error_bound": 0.03,
    "low_margin_tokens": 0,
    "min_margin": 4.5,
    "stops": {"eos": 2},
    "first_errors": [],
    "train_overlap": 0.0,
    "seconds": 0.1,
    "state_bytes": 8,
}
EDITED_ROWS = (
    {"length": "5"},
    {"length": True},
    {"worst_cases": None},
    {"ci95": ["a", "b"]},
    {"stops": {"eos": None}},
    {"first_errors": [{"index": 0}]},
)


def edit(folder, **values):
    """Edit config.json; keys with a dot are inside settings or model_settings."""
    file = folder / "config.json"
    document = json.loads(file.read_text())
    for key, value in values.items():
        part, _, name = key.partition("__")
        if name:
            document[part][name] = value
        else:
            document[key] = value
    file.write_text(json.dumps(document))


def refused(action, match):
    with pytest.raises(ValueError, match=match) as caught:
        action()
    assert "\n" not in str(caught.value)


class TestRefusedByLoad:
    """Missing, foreign and truncated folders are refused in one line each."""

    def test_missing(self, tmp_path):
        refused(lambda: runs.load(tmp_path / "none"), "no run folder")

    def test_foreign(self, tmp_path):
        refused(lambda: runs.load(tmp_path), "not a tallystick run folder")

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"format": 99}', '{"format": 2}', '{"format": 2, "task": 3}', "\udcff"]
    )
    def test_config(self, folder, text):
        (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        refused(lambda: runs.load(folder), "config.json|format")

    @pytest.mark.parametrize("name", ["vocab.json", "model.safetensors"])
    @pytest.mark.parametrize("keep", [0, 10, None])
    def test_cut_off(self, folder, name, keep):
        data = (folder / name).read_bytes()
        (folder / name).unlink()
        if keep is not None:
            (folder / name).write_bytes(data[:keep])
        refused(lambda: runs.load(folder), f"{name} is {'damaged' if keep is not None else 'missing'}")

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("model_settings__vocab_size", 3, "model_settings.vocab_size is no setting"),
            ("model_settings__name", "x", "has no setting 'name'"),
            ("settings__lr", 10**400, "settings.lr is too large"),
            ("settings__lr", float("nan"), "config.json is damaged: it is not JSON .JSON has no NaN"),
        ],
    )
    def test_an_edited_setting(self, folder, key, value, message):
        edit(folder, **{key: value})
        refused(lambda: runs.load(folder), message)

    @pytest.mark.parametrize("name", ["config.json", "vocab.json"])
    def test_nested_too_deep(self, folder, name):
        (folder / name).write_text("[" * 100_000)
        refused(lambda: runs.load(folder), f"{name} is damaged: it is not JSON .it is nested too deep")

    def test_another_model(self, folder):
        edit(folder, model="mamba2:tiny", model_settings={})
        refused(lambda: runs.load(folder), "does not fit")

    def test_other_tokens(self, folder):
        (folder / "vocab.json").write_text('["a"]')
        refused(lambda: runs.load(folder), "the vocabulary of .* has changed since training")

    def test_weights_without_metadata(self, folder):
        save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
        refused(lambda: runs.load(folder), "does not fit config.json, or is not tallystick's")

    def test_a_setting_of_another_version(self, folder):
        edit(folder, settings__rows=8)
        refused(lambda: runs.load(folder), "config.json cannot be used: an unknown settings.rows")

    @pytest.mark.parametrize(
        "text",
        ["[]", "{", "{}", '{"rows": 3}', '{"rows": [1]}', '{"rows": [{}]}', '{"rows": [{"length": NaN}]}']
        + [json.dumps({"rows": [ROW | edited]}) for edited in EDITED_ROWS],
    )
    def test_eval(self, folder, text):
        (folder / "eval.json").write_text(text)
        refused(lambda: runs.read_eval(folder), "eval.json is damaged")

    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
    def test_a_file_that_may_not_be_read_is_not_called_damaged(self, folder, name):
        (folder / name).unlink()
        (folder / name).mkdir()  # root may read every file, so it is a folder here
        with pytest.raises(IsADirectoryError):
            runs.load(folder)


class TestRefusedByResume:
    def test_a_cut_off_checkpoint(self, interrupted):
        (interrupted / "optimizer.safetensors").write_bytes(b"123")
        refused(lambda: loop.resume(interrupted), "optimizer.safetensors is damaged")

    def test_a_missing_checkpoint(self, interrupted):
        (interrupted / "optimizer.safetensors").unlink()
        refused(lambda: loop.resume(interrupted), "optimizer.safetensors is missing")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("settings__batch_size", 8),
            ("settings__seed", 1),
            ("settings__workers", 1),
            ("settings__lr", 0.1),
            ("model_settings__d_state", 8),
            ("model", "mamba2:small"),
            ("variant", "other"),
        ],
    )
    def test_an_edited_config(self, interrupted, key, value):
        edit(interrupted, **{key: value})
        refused(
            lambda: loop.resume(interrupted), f"has {key.partition('__')[2]}={value}, but|unknown variant|has model="
        )

    @pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
    def test_a_missing_gpu(self, interrupted):
        edit(interrupted, settings__device="cuda")
        refused(lambda: loop.resume(interrupted), "was trained with device=cuda.*no usable GPU")

    def test_another_state(self, interrupted):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(
            interrupted, {n: t[:2] if n.startswith("state.") else t for n, t in tensors.items()}, progress
        )
        refused(lambda: loop.resume(interrupted), "does not fit config.json: its state has another batch_size")

    def test_other_positions(self, interrupted):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(interrupted, tensors, progress | {"positions": progress["positions"][:1]})
        refused(lambda: loop.resume(interrupted), "does not fit config.json: its data positions")

    def test_another_optimizer(self, interrupted):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(interrupted, {n: t for n, t in tensors.items() if "exp_avg" not in n}, progress)
        refused(lambda: loop.resume(interrupted), "does not fit config.json")

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("step", "x", "its progress.step must be of type int, not str"),
            ("seconds", None, "its progress.seconds must be of type float, not NoneType"),
            ("positions", {}, "its progress.positions must be of type list, not dict"),
            ("positions", [[[["a", 0]]]], r"its progress.positions.*must be of type int, not str"),
            ("schedule", [], "its progress.schedule must be of type dict"),
            ("overlap", [1], r"its progress.overlap\[0\] must be of type str"),
        ],
    )
    def test_edited_progress(self, interrupted, key, value, message):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(interrupted, tensors, progress | {key: value})
        refused(lambda: loop.resume(interrupted), message)

    @pytest.mark.parametrize("schedule", [{}, {"start": 0, "fall": 5}, {"start": "a", "fall": None}])
    def test_an_edited_schedule(self, interrupted, schedule):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(interrupted, tensors, progress | {"schedule": schedule})
        refused(lambda: loop.resume(interrupted), "optimizer.safetensors is not what this version")

    @pytest.mark.parametrize("line", ["[]", "1", "null", "{}", '{"step": "x"}', '{"step": NaN}', "[" * 100_000])
    def test_a_row_of_metrics_that_is_none(self, interrupted, line):
        with (interrupted / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")
        refused(lambda: loop.resume(interrupted), "metrics.jsonl is damaged")

    def test_progress_of_another_version(self, interrupted):
        tensors, progress = runs.load_progress(interrupted)
        runs.save_progress(interrupted, tensors, {k: v for k, v in progress.items() if k != "schedule"})
        refused(lambda: loop.resume(interrupted), "its progress has no schedule")

    def test_a_folder_in_use(self, interrupted):
        with runs.training(interrupted):
            refused(lambda: loop.resume(interrupted), "is being trained by another process")
        assert not loop.resume(interrupted)

    def test_a_built_in_task_that_has_changed(self, interrupted):
        (interrupted / "task" / "sha256").write_text("another")
        refused(lambda: loop.resume(interrupted), "reverse has changed since this run began")


def test_a_lock_ends_with_its_process(interrupted):
    code = "import sys, time; from pathlib import Path; from tallystick.storage import locked\n"
    code += "with locked(Path(sys.argv[1]), wait=True): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, interrupted], stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
    )
    assert holder.stdout.readline() == b"held\n"
    refused(lambda: loop.resume(interrupted), "is being trained by another process")
    holder.kill()
    holder.communicate()
    assert not loop.resume(interrupted)


def test_a_run_says_how_far_it_was_trained(lookup_run, interrupted, tmp_path):
    assert runs.load(lookup_run).trained == {"step": 1, "finished": True, "passed": True}
    loop.train(tmp_path / "few", configure(tasks.load("reverse"), "lookup", {"examples": "2"}))
    assert runs.load(tmp_path / "few").trained == {"step": 1, "finished": True, "passed": False}
    assert runs.load(interrupted).trained == {"step": 4, "finished": False, "passed": False}
    loop.resume(interrupted)
    assert runs.load(interrupted).trained == {"step": 8, "finished": True, "passed": False}
    (interrupted / "optimizer.safetensors").unlink()
    assert runs.load(interrupted).trained is None


def test_resume_writes_a_model_that_is_missing(interrupted):
    loop.resume(interrupted)
    before = (interrupted / "model.safetensors").read_bytes()
    (interrupted / "model.safetensors").unlink()
    loop.resume(interrupted)
    assert (interrupted / "model.safetensors").read_bytes() == before


def test_a_finished_run_goes_on_for_more_steps(interrupted):
    loop.resume(interrupted)
    refused(lambda: loop.resume(interrupted, steps=8), "has already made 8 steps; choose more")
    loop.resume(interrupted, steps=12)
    assert runs.load(interrupted).trained["step"] == 12
    config = runs.read_config(interrupted)
    assert (config.settings.steps, config.extended_from) == (12, (8,))
    assert [row["step"] for row in runs.read_metrics(interrupted)] == [4, 8, 12]
    assert runs.last_metrics(interrupted)["lr"] > 0  # it begins again, with warm-up
    loop.resume(interrupted, steps=16)
    assert runs.read_config(interrupted).extended_from == (8, 12)


def test_a_run_that_has_passed_does_not_go_on(folder):
    refused(lambda: loop.resume(folder, steps=5000), "lookup is fitted in one go")


def test_a_run_without_a_validation_has_no_last_row(folder):
    (folder / "metrics.jsonl").write_text("")
    refused(lambda: runs.last_metrics(folder), "metrics.jsonl is empty: the run has not been validated yet")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_files_have_the_mode_that_the_umask_gives(tmp_path, umask, lookup_run):
    run, before = runs.load(lookup_run), os.umask(umask)
    try:
        runs.create(tmp_path / "run", run.config, run.task)
        runs.save_model(tmp_path / "run", run.model, 1)
        storage.write_text(tmp_path / "run" / "report.html", "page")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o666 & ~umask}


class TestOwnTasks:
    """The stored copy of a user's file is used where the file is gone or has changed."""

    @pytest.fixture
    def mine(self, tmp_path):
        return Path(shutil.copy(MINE, tmp_path / "mine.py"))

    @pytest.fixture
    def run(self, tmp_path, mine):
        config = configure(tasks.load(f"{mine}:Reverse"), "lookup", {"examples": "100", "train_length": "3"})
        loop.train(tmp_path / "run", config)
        return tmp_path / "run"

    def test_unchanged(self, run, mine):
        assert not runs.load(run).changed

    def test_changed(self, run, mine):
        mine.write_text(mine.read_text().replace("return prompt[-2::-1]", "return prompt[:-1]"))
        loaded = runs.load(run)
        assert loaded.changed
        assert loaded.task.answer([*"10", ">"]) == [*"01"]
        assert loaded.task.name == f"{mine}:Reverse"

    @pytest.mark.parametrize("text", [None, "raise RuntimeError"])
    def test_gone_or_broken(self, run, mine, text):
        if text is None:
            mine.unlink()
        else:
            mine.write_text(text)
        loaded = runs.load(run)
        assert loaded.changed == (text is not None)
        assert loaded.task.answer([*"10", ">"]) == [*"01"]

    def test_neighbours_are_kept_and_their_changes_noticed(self, tmp_path):
        """So is a file that only a neighbour imports; a class of a neighbour has its file as source."""
        text = MINE.read_text()
        assert text.count('"01>"') == 1
        mine, symbols = tmp_path / "mine.py", tmp_path / "parts" / "symbols.py"
        mine.write_text("from parts.symbols import SYMBOLS\n" + text.replace('"01>"', "SYMBOLS"))
        symbols.parent.mkdir()
        (symbols.parent / "__init__.py").write_text("")
        symbols.write_text('SYMBOLS = "01>"\n')
        config = configure(tasks.load(f"{mine}:Reverse"), "lookup", {"examples": "100", "train_length": "3"})
        loop.train(tmp_path / "run", config)
        assert not runs.load(tmp_path / "run").changed
        symbols.write_text('SYMBOLS = "10>"\n')
        loaded = runs.load(tmp_path / "run")
        assert loaded.changed
        assert loaded.task.symbols == "01>"
        symbols.unlink()
        assert runs.load(tmp_path / "run").task.symbols == "01>"

    def test_a_neighbour_with_the_name_of_the_copy_is_refused(self, tmp_path, mine):
        mine.write_text("import source\n" + mine.read_text())
        (tmp_path / "source.py").write_text("")
        task = tasks.load(f"{mine}:Reverse")
        with pytest.raises(ValueError, match=r"imports a file source\.py, the name of its own copy; rename that file"):
            runs.create(tmp_path / "run", configure(task, "lookup", {}), task)
        assert not (tmp_path / "run").exists()

    def test_resume_goes_on_with_the_program_that_it_began_with(self, tmp_path, mine):
        """The result is bit-identical to that without the edit."""
        config = configure(tasks.load(f"{mine}:Reverse"), "mamba2:tiny", SMALL | {"min_margin": "99"}, steps=8)

        def report(row):
            if row["step"] == 8:
                raise KeyboardInterrupt

        loop.train(tmp_path / "whole", config)
        with pytest.raises(KeyboardInterrupt):
            loop.train(tmp_path / "parts", config, report)
        mine.write_text(mine.read_text().replace("p.right()", "p.right(); w.think('1')", 1))
        loop.resume(tmp_path / "parts")
        whole, parts = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "parts"))
        assert whole == parts


def test_a_run_is_read_of_one_checkpoint(folder, monkeypatch):
    """Training saves while the folder is read."""
    read, model = runs.read_tensors, runs.load(folder).model

    def read_and_save(file):
        found = read(file)
        monkeypatch.setattr(runs, "read_tensors", read)
        runs.save_model(folder, model, 7)
        return found

    monkeypatch.setattr(runs, "read_tensors", read_and_save)
    run = runs.load(folder)
    assert (run.examples, run.weights) == (7, runs.weights_hash(folder))


def test_what_was_left_by_killed_processes_is_removed(folder):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, busy, other = (folder / f".model.safetensors.{end}" for end in (gone.pid, os.getppid(), "keep"))
    for file in (left, busy, other):
        file.write_bytes(b"123")
    run = runs.load(folder)
    runs.save_model(folder, run.model, 1)
    assert [file.exists() for file in (left, busy, other)] == [False, True, True]


def test_a_write_that_fails_leaves_the_old_file(folder):
    before = (folder / "eval.json").write_text("old")
    with pytest.raises(ValueError, match="JSON"):
        storage.write_json(folder / "eval.json", {"margin": float("nan")})
    assert (folder / "eval.json").read_text() == "old"
    assert before == 3
    assert not list(folder.glob(".eval.json*"))


def test_the_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"there is no folder {tmp_path}/file"):
        storage.check_makable(tmp_path / "file" / "a" / "b")
    with pytest.raises(OSError, match="cannot write /proc/a: "):
        storage.check_makable(Path("/proc/a/b/c"))


def test_a_pipe_or_device_is_not_replaced_by_a_file(tmp_path):
    """Root could do so, and /dev/null would be a file of the whole machine's output."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for action in (storage.check_writable, lambda path: storage.write_text(path, "text")):
        with pytest.raises(OSError, match="pipe is a device or pipe: give the name of a file"):
            action(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_evals_of_the_same_weights_add_up(folder):
    rows = [ROW | {"length": n, "exact": n} for n in (5, 9)]
    runs.write_eval(folder, {"task": "reverse", "rows": rows}, "these")
    runs.write_eval(folder, {"task": "reverse", "rows": [rows[0] | {"exact": 0}]}, "these")
    assert [row["exact"] for row in runs.read_eval(folder)["rows"]] == [0, 9]
    runs.write_eval(folder, {"task": "reverse", "rows": rows[:1]}, "others")
    assert [row["exact"] for row in runs.read_eval(folder)["rows"]] == [5]


class TestProvenance:
    """Provenance tells what it can, and never fails a job."""

    @pytest.fixture
    def checkout(self, tmp_path, monkeypatch):
        package = tmp_path / "tallystick"
        package.mkdir()
        (tmp_path / ".git").mkdir()
        monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
        return tmp_path

    def test_without_git(self, checkout, monkeypatch):
        monkeypatch.setenv("PATH", "")
        found = provenance.environment()
        assert (found["commit"], found["dirty"]) == (None, None)

    def test_a_diff_that_is_not_utf_8(self, checkout):
        git = ["git", "-C", checkout, "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run([*git[:3], "init", "-q"], check=True)
        (checkout / "file").write_text("a")
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-qm", "a"], check=True)
        (checkout / "file").write_bytes(b"caf\xe9")
        found = provenance.environment()
        assert "+caf\N{REPLACEMENT CHARACTER}" in found["dirty"]
        assert len(found["commit"]) == 40


def test_a_training_without_steps_is_resumed_from_its_beginning(tmp_path, interrupted):
    """Training was interrupted between making the folder and the first checkpoint."""
    config = runs.read_config(interrupted)
    runs.create(tmp_path / "fresh", replace(config), tasks.load("reverse"))
    loop.resume(tmp_path / "fresh")
    loop.resume(interrupted)
    files = [folder / "model.safetensors" for folder in (tmp_path / "fresh", interrupted)]
    assert files[0].read_bytes() == files[1].read_bytes()
