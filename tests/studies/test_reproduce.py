"""Tests of a study from experiments to files: jobs in parallel, resumed runs, and missing results."""

from dataclasses import replace

import pytest

from tallystick.studies.framework.experiment import At, Experiment
from tallystick.studies.framework.reproduce import reproduce
from tallystick.studies.framework.results import Results
from tallystick.studies.framework.study import Study


def declared_with(seeds):
    return Experiment(task="reverse", model="lookup", at=(At(3),), seeds=seeds)


def study(*experiments, **more):
    given = {"name": "toy", "title": "A title", "about": "What about it.", "seeds": (0, 1), **more}
    return Study(experiments=lambda budget: experiments, **given)


def test_what_is_missing_is_made_and_shown(results, two, made, capfd):
    """One run exists; of the other two one is made and one fails; then nothing is left to do."""
    done, missing = two
    wrong = replace(done, line="wrong", part="sums")
    results.add(done, 0, made.where, made.trained(made.row(3, 5, 5), made.row(9, 5, 5)))
    toy = study(*two, wrong)
    failures = reproduce(toy, "small", None, [0])
    assert failures == ["reverse: wrong, seed 0: reverse has no part 'sums'; it is not a mixture"]
    ends = [line for line in capfd.readouterr().err.splitlines() if line.startswith("[")]
    first, second = ends  # the one of more tokens comes first
    assert first.startswith("[1/2] reverse: wrong, seed 0: failed")
    assert second.startswith("[2/2] reverse: mamba2:tiny, seed 0: 2 steps")
    stored = Results("toy", "small")
    assert [(stored.plans[run["plan"]]["name"], run["seed"]) for run in stored.runs] == [(e.name, 0) for e in two]
    where = stored.environments[stored.of(missing)[0]["environment"]]
    assert where.keys() == made.where.keys()  # and no mark of a former rule
    assert where["device"] == "cpu"
    page, picture = (toy.path("small", kind) for kind in ("md", "png"))
    shown = made.in_table(page.read_text())
    assert shown["lookup"][:2] == ["0", "100 [57-100]"]
    assert shown["mamba2:tiny"][0] == "0"
    assert shown["wrong"][0] == "-"
    assert f"`{where['command']}`" in page.read_text()

    page.unlink()
    picture.unlink()
    assert reproduce(toy, "small", ["mamba2"], [0]) == []  # whole from the JSON, without running anything
    assert capfd.readouterr().err == "all results are up to date\n"
    assert made.in_table(page.read_text()) == shown
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize("name", ["runs", "results"])
def test_what_cannot_be_written_is_told_before_the_work(results, two, capfd, name):
    from pathlib import Path

    Path(name).write_text("in the way of the folder")
    with pytest.raises(OSError, match=f"there is no folder {name}"):
        reproduce(study(*two), "small", None, [0])
    assert capfd.readouterr().err == ""


def test_a_view_reads_and_writes_what_it_views(results, two, made):
    owner, shown = study(*two), two[0].shown_as("its own panel", "its own line")
    view = study(shown, name="view", results="toy")
    view.stored("small").add(shown, 0, made.where, made.trained(made.row(3, 5)))
    view.write("small", view.stored("small"))
    assert not Results("view", "small").path.exists()
    assert "| its own line | 0 |" in view.path("small", "md").read_text()
    assert owner.stored("small").has(two[0], 0)
    owner.stored("small").refuse_changed(two)
    assert [plan["name"] for plan in owner.stored("small").plans.values()] == [two[0].name]  # the owner's


def test_mistakes_are_refused_before_anything_is_done(results, two, made):
    with pytest.raises(ValueError, match="no experiment has a model 'mamba3'; there are: lookup, mamba2, mamba2:tiny"):
        reproduce(study(*two), "small", ["mamba3"])
    with pytest.raises(ValueError, match="length 0: reverse has lengths 1 to"):
        reproduce(study(replace(two[0], at=(At(0),))), "small")
    with pytest.raises(ValueError, match="--budget huge: the budgets of toy are small and paper"):
        reproduce(study(*two), "huge")
    with pytest.raises(ValueError, match="--seeds 7: no experiment of toy has such a seed"):
        reproduce(study(replace(two[0], seeds=(0,))), "small", None, [7])
    assert not results.path.exists()
    results.add(two[1], 0, made.where, made.trained())
    before = results.path.read_text()
    changed = replace(two[1], settings={**two[1].settings, "steps": 3})
    with pytest.raises(ValueError, match="was measured with other settings: steps was 2, is 3"):
        reproduce(study(changed), "small")
    assert results.path.read_text() == before
    assert not study().path("small", "md").exists()


def test_seeds():
    some, any_seed, two_seeds = declared_with((0, 5)), declared_with(()), study(seeds=(0, 1))
    assert two_seeds.seeds_of(any_seed, None) == [0, 1]
    assert two_seeds.seeds_of(any_seed, [3]) == [3]
    assert two_seeds.seeds_of(some, None) == [0, 5]
    assert two_seeds.seeds_of(some, [3, 5]) == [5]
