"""Further policies that ship under a name of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.manifest import Manifest, load_manifest
from clwm_data.zoo.shipped import find_policies, find_zoo, shipped_folder, zoo_folder

ANT, NAME = get_family("ant-dir"), "ant-dir-unturned"


def test_a_name_means_the_policies_that_ship_under_it() -> None:
    folder, card = find_zoo(ANT, NAME)
    assert folder.parent == Path(str(shipped_folder(ANT))).parent
    assert folder.name == NAME
    assert [checkpoint.quality for checkpoint in card.checkpoints] == [0, 25, 50, 75, 100]
    assert not any(checkpoint.symmetries for checkpoint in card.checkpoints)  # none is an image
    for checkpoint in card.checkpoints:
        assert find_policies(ANT, NAME, checkpoint.quality, checkpoint.sha256).policies


def test_the_manifest_collects_with_them_and_publishes_their_name() -> None:
    resolved = load_manifest("ant-dir-unturned-small").resolved()
    digests = {checkpoint.quality: checkpoint.sha256 for checkpoint in find_zoo(ANT, NAME)[1].checkpoints}
    for entry in resolved.behaviours[1:]:
        assert entry.sha256 == digests[entry.checkpoint_quality]
    assert [entry.zoo for entry in resolved.published().behaviours] == [None] + 4 * [NAME]
    usual = load_manifest("ant-dir-small").resolved()
    assert resolved.task_indices() == usual.task_indices()
    assert not resolved.same_data_as(usual.model_copy(update={"name": resolved.name}))


def test_a_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(find_zoo(ANT, None)[0], NAME)
    assert zoo_folder(ANT, NAME) == Path(NAME)
    assert find_zoo(ANT, NAME)[1] == find_zoo(ANT, None)[1]


@pytest.mark.parametrize("zoo", ["ant-dir-turned", f"runs/{NAME}", f"./{NAME}", "..", ""])
def test_what_is_neither_is_refused(zoo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ClwmError, match="holds no card"):
        find_zoo(ANT, zoo)


def test_policies_of_another_family_are_refused(tmp_path: Path) -> None:
    entry = {"policy": "learned", "checkpoint": 100, "zoo": NAME, "episodes": 1}
    manifest = Manifest.model_validate({"name": "x", "family": "cheetah-vel", "behaviours": [entry]})
    with pytest.raises(ClwmError, match="is about family ant-dir, not cheetah-vel"):
        manifest.resolved()
