"""Publishing a store in a dataset repository of the Hub."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from clwm_data.errors import ClwmError
from clwm_data.hub.card import CardStore, dataset_card
from clwm_data.hub.figure import returns_figure
from clwm_data.hub.plan import Plan, deleted, existing_card, planned, remote_files
from clwm_data.hub.publication import Publication
from clwm_data.hub.published import SUFFIX, open_published
from clwm_data.hub.reference import HubReference, repository_reference
from clwm_data.pages.markdown import CARD
from clwm_data.store.format import METADATA, STAGING, TASKS, task_folder
from clwm_data.store.reader import Store, open_local
from clwm_data.store.validate import validate
from clwm_data.yaml_text import dump_yaml


def publishable(path: Path) -> Store:
    """A store that may be pushed.

    Raises:
        ClwmError: it does not validate, has no task, or is being written.
    """
    store = open_local(path)
    if (path / STAGING).exists():
        raise ClwmError(
            f"{path}: its collection or download is not finished: run that command again, or "
            f"delete {STAGING} in it"
        )
    if not store.tasks:
        raise ClwmError(f"{path}: holds no task yet: collect it first")
    if findings := validate(path):
        more = f" ({len(findings)} findings: see `clwm validate {path}`)"
        raise ClwmError(f"{path}: is not valid, so it is not pushed: {findings[0]}{more}")
    return store


def plan_push(store: Store, reference: HubReference, head: str | None) -> Plan:
    """What a push of a store would upload and delete.

    Args:
        store: checked with :func:`publishable`.
        reference: dataset repository.
        head: commit to compare with; ``None`` where nothing was published yet.

    Raises:
        ClwmError: the repository cannot be read.
    """
    remote = {} if head is None else remote_files(reference, head)
    folder = f"{store.name}{SUFFIX}"
    data = [
        planned(f"{folder}/{path.relative_to(store.path).as_posix()}", path, remote)
        for path in _task_files(store)
    ]
    manifest = store.manifest.model_dump(mode="json", exclude_none=True)
    last = [
        planned(f"{folder}/{METADATA}", store.root.text, remote),
        planned(f"{store.name}.yaml", dump_yaml(manifest).encode(), remote),
        planned(f"{store.name}.svg", _figure(store).encode(), remote),
        planned(CARD, _card(store, reference, head, remote).encode(), remote),
    ]
    kept = {file.path for file in [*data, *last]}
    stale = sorted(path for path in remote if path.startswith(f"{folder}/") and path not in kept)
    return Plan(head, data, [*last, *map(deleted, stale)])


def publish_store(path: Path, repository: str, branch: str | None = None) -> Publication:
    """A store, ready to be published: data first, then its root, manifest and the card, then the tag.

    Only what changed is uploaded, so an interrupted push is resumed by the next. Readers of the branch may
    see new data under the old root meanwhile, and are told by the digests; readers of a tag do not.

    Args:
        path: of the store.
        repository: dataset repository ``user/name``.
        branch: instead of the default one.

    Raises:
        ClwmError: the store may not be published, or the repository's name is none.
    """
    store = publishable(path)
    reference = repository_reference(repository, branch, "dataset")
    title = f"{store.name}: {len(store.tasks)} tasks"
    return Publication(reference, title, lambda head: plan_push(store, reference, head))


def _task_files(store: Store) -> Iterator[Path]:
    """The files that a store consists of, but for its root: nothing that happens to lie beside them."""
    yield store.path / TASKS / METADATA
    for index, task in store.tasks.items():
        group = store.path / TASKS / task_folder(index)
        yield group / METADATA
        yield from (group / file for file in sorted(task.record.files))


def _card_store(store: Store) -> CardStore:
    return CardStore(store.record, [task.record for task in store.tasks.values()])


def _figure(store: Store) -> str:
    return returns_figure(store.name, store.family, [task.record for task in store.tasks.values()])


def _card(store: Store, reference: HubReference, head: str | None, remote: Collection[str]) -> str:
    """The card of the repository: of this store and of the others in it."""
    stores, existing = [_card_store(store)], ""
    if head is not None:
        end = f"{SUFFIX}/{METADATA}"
        roots = {path.removesuffix(f"/{METADATA}") for path in remote if path.endswith(end)}
        for folder in sorted(roots - {f"{store.name}{SUFFIX}"}):
            if "/" in folder:
                continue
            published = open_published(reference, head, folder)
            stores.append(CardStore(published.root.record, list(published.records.values())))
        if CARD in remote:
            existing = existing_card(reference, head)
    return dataset_card(reference.repository, stores, existing)
