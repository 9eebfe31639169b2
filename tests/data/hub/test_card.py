from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from clwm_data.edit import select
from clwm_data.errors import ClwmError
from clwm_data.hub.card import CardStore, dataset_card
from clwm_data.manifest import BehaviourEntry
from clwm_data.opening import open_store
from clwm_data.pages.markdown import BEGIN, END


@pytest.fixture(scope="module")
def tiny(collected: Path) -> CardStore:
    store = open_store(collected)
    return CardStore(store.record, [task.record for task in store.tasks.values()])


def front_matter(card: str) -> dict[str, object]:
    assert card.startswith("---\n")
    front: dict[str, object] = yaml.safe_load(card.split("---\n")[1])
    return front


def changed(store: CardStore, **manifest: object) -> CardStore:
    record = store.record.model_copy(update={"manifest": store.record.manifest.model_copy(update=manifest)})
    return CardStore(record, store.tasks)


def test_front_matter(tiny: CardStore) -> None:
    front = front_matter(dataset_card("user/data", [tiny]))
    assert front["license"] == "cc0-1.0"
    assert front["task_categories"] == ["reinforcement-learning"]
    assert front["size_categories"] == ["n<1K"]  # 600 transitions
    assert {"offline-reinforcement-learning", "point-robot", "zarr"} <= set(front["tags"])  # type: ignore[call-overload]
    assert "configs" not in front
    assert front["viewer"] is False


def test_parquet_files_are_listed_split_by_split(tiny: CardStore) -> None:
    paths = [
        f"tiny.parquet/{name}-0123456789ab.parquet" for name in ("ood-00000", "train-00001", "train-00000")
    ]
    with_files = replace(tiny, parquet=paths)
    card = dataset_card("user/data", [with_files])
    expected = {
        "config_name": "tiny",
        "data_files": [
            {"split": "train", "path": [paths[2], paths[1]]},
            {"split": "ood", "path": [paths[0]]},
        ],
    }
    assert front_matter(card)["configs"] == [expected]
    assert "viewer" not in front_matter(card)
    assert 'load_dataset("user/data", "tiny", split="train")' in card
    assert dataset_card("user/data", [with_files], card) == card
    assert dataset_card("user/data", [tiny], card) == dataset_card("user/data", [tiny])


def test_configs_that_datasets_cannot_read_are_removed_and_others_kept(tiny: CardStore) -> None:
    """Earlier cards listed files of Zarr, over which `datasets.load_dataset` stumbles."""
    old = {
        "config_name": "tiny",
        "data_files": [{"split": "train", "path": ["tiny.zarr/tasks/0012/**"]}],
    }
    mine = {"config_name": "mine", "data_files": "extra.parquet"}
    for listed, kept in (([old], None), ([old, mine], [mine]), ("nonsense", None)):
        existing = f"---\n{yaml.safe_dump({'configs': listed})}---\n"
        assert front_matter(dataset_card("user/data", [tiny], existing)).get("configs") == kept


def test_body(tiny: CardStore) -> None:
    card = dataset_card("user/data", [tiny])
    assert "per task: 3 episodes by scripted, noise 0.3; 2 episodes by random" in card
    assert "[tiny.yaml](tiny.yaml), seed 0: `clwm collect tiny.yaml` makes it again" in card
    assert "train 12, id 6, ood 0" in card
    assert tiny.record.content_sha256 in card
    assert "![Returns of tiny per task](tiny.svg)" in card
    rows = [line for line in card.splitlines() if re.match(r"\| (0|6|12) \|", line)]
    statistics = tiny.tasks[1].statistics.returns
    assert f"| 6 | id | angle 0.4833, goal (0.8855, 0.4647) | 5 | 200 | {statistics.mean:.2f} |" in rows[1]
    block = card.split("```python\n")[1].split("```")[0]
    assert len(block.splitlines()) == 3
    compile(block, "card", "exec")
    assert 'open_store("hf://datasets/user/data/tiny.zarr")' in block
    assert "@misc{user-data," in card


def test_a_mixture_by_transitions_and_policies_of_ones_own(tiny: CardStore) -> None:
    entry = BehaviourEntry(policy="learned", checkpoint=50, deterministic=True, zoo="zoo", transitions=40_000)
    card = dataset_card("user/data", [changed(tiny, behaviours=[entry])])
    assert "per task: 40,000 transitions by learned 50 %, deterministic" in card
    assert "seed 0; its policies are not included" in card
    assert "makes it again" not in card


def test_an_edited_store_says_how_it_was_made(store_path: Path, tmp_path: Path) -> None:
    part = select(store_path, tmp_path / "part.zarr", splits=["id"])
    card = dataset_card("user/data", [CardStore(part.record, [t.record for t in part.tasks.values()])])
    assert "makes it again" not in card
    digest = open_store(store_path).record.content_sha256[:12]
    assert f"| edited | select (splits id) from tiny (sha256 {digest}) |" in card


@pytest.mark.parametrize(
    ("transitions", "category"),
    [
        (1, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (10**6 - 1, "100K<n<1M"),
        (8 * 10**6, "1M<n<10M"),
        (10**9, "1B<n<10B"),
        (10**12, "1B<n<10B"),
    ],
)
def test_size_categories(tiny: CardStore, transitions: int, category: str) -> None:
    task = tiny.tasks[0].model_copy(update={"transitions": transitions})
    assert front_matter(dataset_card("u/d", [CardStore(tiny.record, [task])]))["size_categories"] == [
        category
    ]


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["CC-BY-4.0"], {"license": "cc-by-4.0"}),
        (["MIT", "CC-BY-4.0"], {"license": ["cc-by-4.0", "mit"]}),
        (["My own"], {"license": "other", "license_name": "My own"}),
        (["MIT", "My own"], {"license": "other", "license_name": "MIT and My own"}),
        ([None], {}),
    ],
)
def test_licences(tiny: CardStore, licences: list[str | None], expected: dict[str, object]) -> None:
    stores = [changed(tiny, licence=licence, name=f"s{number}") for number, licence in enumerate(licences)]
    front = front_matter(dataset_card("u/d", stores))
    assert {key: front[key] for key in ("license", "license_name") if key in front} == expected


def test_what_people_wrote_stays(tiny: CardStore) -> None:
    first = dataset_card("user/data", [tiny])
    by_hand = first.replace("tags:\n", "language: en\ntags:\n- mine\n").replace(BEGIN, f"Hello.\n\n{BEGIN}")
    by_hand += "\n## Thanks\n\nTo all.\n"
    second = dataset_card("user/data", [changed(tiny, description="new words")], by_hand)
    front = front_matter(second)
    assert front["language"] == "en"
    assert "mine" in front["tags"]  # type: ignore[operator]
    assert second.index("Hello.") < second.index(BEGIN) < second.index("new words") < second.index(END)
    assert second.rstrip().endswith("## Thanks\n\nTo all.")
    assert second.count(BEGIN) == 1
    assert dataset_card("user/data", [changed(tiny, description="new words")], second) == second


@pytest.mark.parametrize(
    "existing",
    [
        "# By hand\n\nA text.\n",
        "---\nlicense: mit\n---\n# By hand\n\nA text.",
        "---\r\n---\r\n# By hand\n\nA text.",
    ],
)
def test_a_card_by_hand_is_kept_in_front(tiny: CardStore, existing: str) -> None:
    card = dataset_card("user/data", [tiny], existing)
    assert card.index("# By hand\n\nA text.") < card.index(BEGIN)
    assert front_matter(card)["license"] == "cc0-1.0"


def test_a_broken_or_hostile_front_matter_is_one_line(tiny: CardStore) -> None:
    for text in ("---\na: [\n---\n", "---\na: !!python/object/apply:os.getcwd []\n---\n"):
        with pytest.raises(ClwmError, match=r"README.md:?\d*: not valid YAML"):
            dataset_card("user/data", [tiny], text)


def test_texts_cannot_break_out_of_their_place(tiny: CardStore) -> None:
    evil = f"a | b\n\n# c <script>alert(1)</script> {END} ]]>"
    card = dataset_card("user/data", [changed(tiny, description=evil, authors=[evil], licence=evil)])
    assert "<script>" not in card.split("\n---\n")[1]
    assert card.count(END) == 1
    assert not any(line.startswith("# c") for line in card.splitlines())
    again = dataset_card("user/data", [tiny], card)
    assert "alert" not in again.split(BEGIN)[1]
