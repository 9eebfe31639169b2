from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.families import get_family
from clwm_data.preview import preview_family
from tests.cli.conftest import Call
from tests.conftest import Clwm

images = pytest.importorskip("PIL.Image")


def test_a_family_and_a_store_are_filmed(clwm: Clwm, collected: Path, tmp_path: Path) -> None:
    done = clwm("preview", "point-robot", "--tasks", "3,19", "--behaviour", "random")
    assert (done.returncode, done.stdout, done.stderr) == (0, "point-robot.gif: 2 episodes\n", "")
    assert images.open(tmp_path / "point-robot.gif").n_frames == 41
    done = clwm("preview", collected, "--episode", "worst", "--out", "worst.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, "worst.png: 3 episodes\n", "")
    assert images.open(tmp_path / "worst.png").size[0] > 900


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["point-robot", "--episode", "1"], 1, "point-robot is a family: --episode does not go with it"),
        (["nothing-like-it"], 1, "nor is there a family of that name (`clwm families`), nor a run"),
        (["point-robot", "--tasks", "40"], 1, "no task 40; there are 0-39"),
        (["point-robot", "--out", "a.avi"], 1, "a.avi: a preview ends in .gif, .mp4, .png"),
    ],
)
def test_mistakes_are_one_line(clwm: Clwm, arguments: list[str], code: int, message: str) -> None:
    done = clwm("preview", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_option_of_families_is_refused_for_a_store(clwm: Clwm, collected: Path) -> None:
    done = clwm("preview", collected, "--noise", "0.1")
    assert done.returncode == 1
    assert "is a store: --noise does not go with it" in done.stderr
    done = clwm("preview", collected, "--episode", "nicest")
    assert done.returncode == 2


def test_trained_policies_are_shown_where_they_ship(clwm: Clwm, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    done = clwm("preview", "cheetah-vel", "--tasks", "33", "--out", "new/best.png")
    assert (done.returncode, done.stdout, done.stderr) == (0, "new/best.png: 1 episode\n", "")
    assert images.open(tmp_path / "new" / "best.png").size[0] > 300
    (best,) = preview_family(get_family("cheetah-vel"), [33], still=True)
    (early,) = preview_family(get_family("cheetah-vel"), [33], checkpoint=0, still=True)
    (chance,) = preview_family(get_family("cheetah-vel"), [33], behaviour="random", still=True)
    assert best.label == "learned 100 %, deterministic"
    assert best.episode_return > early.episode_return + 100
    assert best.episode_return > chance.episode_return + 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cheetah-vel", "--checkpoint", "7"], "checkpoint: cheetah-vel has no checkpoint 7"),
        (["point-robot", "--protocol", "few-shot"], "point-robot is a family: --protocol does not go with"),
        (["point-robot", "--behaviour", "learned"], "family point-robot has no trained policies yet"),
        (["point-robot", "--behaviour", "lerned"], "has no behaviour 'lerned'; it has: random, scripted"),
        (["point-robot", "--checkpoint", "100"], "only a policy that is learned takes it"),
        (["cheetah-vel", "--behaviour", "random", "--noise", "1"], "random actions take no noise"),
    ],
)
def test_behaviours_that_are_not_there_are_one_line(clwm: Clwm, arguments: list[str], message: str) -> None:
    done = clwm("preview", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_agent_of_a_run_is_filmed(call: Call, run_path: Path, tmp_path: Path) -> None:
    code, out, err = call("preview", run_path, "--context-size", 5)
    assert (code, out, err) == (0, "run-few-shot.gif: 3 episodes\n", "")
    film = images.open(tmp_path / "run-few-shot.gif")
    assert (film.n_frames, film.size[0] > 900) == (41, True)

    (tmp_path / "runs").mkdir()
    run_path.rename(tmp_path / "runs" / "mine")  # by its name; zero-shot needs no data
    open_run_file = tmp_path / "runs" / "mine" / "run.yaml"
    open_run_file.write_text(open_run_file.read_text().replace("tiny.zarr", "gone.zarr"))
    code, out, err = call("preview", "mine", "--task", 7, "--protocol", "zero-shot", "--out", "a.png")
    assert (code, out, err) == (0, "a.png: 1 episode\n", "")
    code, out, err = call("preview", "mine", "--out", "b.png")
    assert code == 1
    assert "say where it is with --store" in err


def test_mistakes_about_an_agent_are_one_line(call: Call, run_path: Path) -> None:
    for arguments, message in (
        (("--episode", 1), "is a run: --episode does not go with it"),
        (("--behaviour", "random"), "is a run: --behaviour does not go with it"),
        (("--task", 40), "no task 40; there are 0-39"),
        (("--task", 7), "few-shot: there is no data of task 7 to adapt to"),
        (("--agent-seed", 4), "has no seed 4 (--agent-seed): its seeds are 0"),
        (("--checkpoint", 5), "no such checkpoint"),
        (("--out", "a.avi"), "a preview ends in .gif, .mp4, .png"),
    ):
        code, out, err = call("preview", run_path, *arguments)
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert message in err


def test_eval_films_every_protocol_and_prints_the_same(call: Call, run_path: Path, tmp_path: Path) -> None:
    evaluate = ("eval", run_path, "--episodes", 1, "--context-size", 5, "--json")
    _, plain, _ = call(*evaluate)
    code, out, err = call(*evaluate, "--video", "films", "--video-format", "png")
    assert (code, out) == (0, plain)
    assert "films/few-shot.png: 3 episodes" in err
    assert "films/zero-shot.png: 3 episodes" in err, "the same tasks: of each split those with data"
    assert {path.name for path in (tmp_path / "films").iterdir()} == {"few-shot.png", "zero-shot.png"}
    code, _, err = call(*evaluate, "--video", "films", "--context-sizes", "0,5")
    assert (code, "--context-sizes excludes --video" in err) == (2, True)
    (tmp_path / "file").touch()
    code, out, err = call(*evaluate, "--video", "file")
    assert (code, out) == (1, "")
    assert "file: " in err
