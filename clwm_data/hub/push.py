"""Publishing a store in a dataset repository of the Hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clwm_data.errors import ClwmError, ConflictError, DamagedDataError, InvalidInputError
from clwm_data.hub.card import CardStore, dataset_card
from clwm_data.hub.client import api, call
from clwm_data.hub.figure import returns_figure
from clwm_data.hub.lineage import reasons_against, remember_push
from clwm_data.hub.outgoing import credited, outgoing_root
from clwm_data.hub.parquet import ParquetFiles, parquet_of
from clwm_data.hub.plan import Plan, deleted, existing_card, planned, remote_files
from clwm_data.hub.publication import Publication, Pushed
from clwm_data.hub.published import open_published
from clwm_data.hub.reference import HubReference, repository_reference
from clwm_data.manifest import Manifest
from clwm_data.pages.markdown import CARD
from clwm_data.pages.numbers import plural
from clwm_data.paths import SUFFIX, real_path, store_file
from clwm_data.store.cached import ArrivalCallback
from clwm_data.store.format import METADATA, STAGING, TASKS, TaskRecord, task_folder
from clwm_data.store.reader import Store, open_local
from clwm_data.store.root import Root
from clwm_data.store.validate import validate
from clwm_data.yaml_text import dump_yaml


# Eight parameters: one for each choice that a user has.
def push(
    store: str | Path | Store,
    repository: str,
    *,
    tag: str | None = None,
    branch: str | None = None,
    private: bool = False,
    replace: bool = False,
    parquet: bool = True,
    on_progress: ArrivalCallback | None = None,
) -> Pushed:
    """Publish a store in a dataset repository of the Hub.

    Only what changed is uploaded, so the same call resumes an interrupted push, and does nothing after a
    finished one.

    Args:
        store: the store, or its folder.
        repository: ``user/name``; created if it does not exist.
        tag: to set on the result: what readers pin.
        branch: instead of the default one.
        private: make the repository private, if it does not exist yet.
        replace: push even if published tasks would be deleted, or a store that is not an ancestor of this one
            replaced.
        parquet: put Parquet files beside the store, for the Hub's viewer and ``datasets.load_dataset``.
        on_progress: called after each commit with the bytes in it, and the bytes in all.

    Raises:
        InvalidInputError: ``repository`` is not a valid name.
        DamagedDataError: the store does not validate.
        ConflictError: something published would be lost, the tag points to something else, or the store is
            being written.
        MissingExtraError: pyarrow is not installed, which the Parquet files need.
        UnavailableError: the Hub cannot be reached, or refuses.
    """
    path = store.path if isinstance(store, Store) else real_path(store)
    publication = publish_store(path, repository, branch, parquet=parquet)
    return publication.push(private=private, tag=tag, replace=replace, on_progress=on_progress)


def publish_store(
    path: Path,
    repository: str,
    branch: str | None = None,
    *,
    authors: Sequence[str] = (),
    licence: str | None = None,
    parquet: bool = True,
) -> Publication:
    """A store, ready to be published: its data, its root, manifest and the card, then the tag.

    If all of it does not fit into one commit, the data is committed first. Readers of the branch may then see
    new data under the old root for a while, which the digests reveal; readers of a tag do not.

    Args:
        path: of the store.
        repository: dataset repository ``user/name``.
        branch: instead of the default one.
        authors: to credit; by default those of the manifest, or the login that pushes.
        licence: SPDX identifier; by default that of the manifest.
        parquet: put Parquet files beside the store; else those that are published are deleted.

    Raises:
        ClwmError: the store may not be published, or the repository's name is not valid.
        MissingExtraError: pyarrow is not installed, which the Parquet files need.
    """
    store = publishable(path)
    rows = ParquetFiles(store) if parquet else None
    reference = repository_reference(repository, branch, "dataset")
    manifest = credited(store.manifest, authors, licence)
    root = _Once(store, manifest)
    title = f"{store.name}: {plural(len(store.tasks), 'task')}"
    return Publication(
        reference,
        title,
        lambda head: plan_push(store, root(), reference, head, rows.files() if rows else {}),
        on_success=lambda: remember_push(store, root(), reference),
    )


class _Once:
    """The published root, computed once: it may have to ask the Hub who is logged in."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._root: Root | None = None

    def __call__(self) -> Root:
        if self._root is None:
            manifest = self._manifest
            if not manifest.authors:
                manifest = manifest.model_copy(update={"authors": login_names()})
            self._root = outgoing_root(self._store, manifest)
        return self._root


def login_names() -> list[str]:
    """The name of the user who is logged in to the Hub; empty if it cannot be asked."""
    try:
        user = call("the Hub's login", api().whoami)
    except ClwmError:
        return []
    name = user.get("fullname") or user.get("name")
    return [name] if isinstance(name, str) and name.isprintable() else []


def publishable(path: Path) -> Store:
    """A store that may be pushed; files that a user put beside its own are not.

    Raises:
        ConflictError: it is being written.
        InvalidInputError: it has no task.
        DamagedDataError: it does not validate.
    """
    store = open_local(path)
    if (path / STAGING).exists():
        raise ConflictError(
            f"{path}: its collection or download is not finished: run that command again, or "
            f"delete {STAGING} in it"
        )
    if not store.tasks:
        raise InvalidInputError(f"{path}: holds no task yet: collect it first")
    if findings := validate(path):
        more = f" ({len(findings)} findings: see `clwm validate {path}`)"
        raise DamagedDataError(f"{path}: is not valid, so it is not pushed: {findings[0]}{more}")
    return store


def plan_push(
    store: Store, root: Root, reference: HubReference, head: str | None, parquet: Mapping[str, Path]
) -> Plan:
    """What a push of a store would upload and delete.

    Args:
        store: checked with :func:`publishable`.
        root: of the store as it is published.
        reference: dataset repository.
        head: commit to compare with; ``None`` if nothing has been published yet.
        parquet: files to have beside the store, by their paths in the repository.

    Raises:
        ClwmError: the repository cannot be read.
    """
    remote = {} if head is None else remote_files(reference, head)
    folder, records = store_file(store.name), [task.record for task in store.tasks.values()]
    data = [
        planned(f"{folder}/{path.relative_to(store.path).as_posix()}", path, remote, sha256)
        for path, sha256 in _task_files(store)
    ]
    data += [planned(path, file, remote) for path, file in parquet.items()]
    manifest = root.record.manifest.model_dump(mode="json", exclude_none=True)
    card = _card(CardStore(root.record, records, list(parquet)), reference, head, remote)
    last = [
        planned(f"{folder}/{METADATA}", root.text, remote),
        planned(f"{store.name}.yaml", dump_yaml(manifest).encode(), remote),
        planned(f"{store.name}.svg", _figure(store, records), remote),
        planned(CARD, card.encode(), remote),
    ]
    kept = {file.path for file in [*data, *last]}
    ours = [*(path for path in remote if path.startswith(f"{folder}/")), *parquet_of(store.name, remote)]
    stale = sorted({*ours} - kept)
    published = head is not None and f"{folder}/{METADATA}" in remote
    losses = reasons_against(store, root, reference, head) if published and head is not None else []
    return Plan(head, data, [*last, *map(deleted, stale)], losses)


def _task_files(store: Store) -> Iterator[tuple[Path, str | None]]:
    """The files of a valid store, with their SHA-256 where the store has it.

    Without its root, and without anything that a user put beside them.
    """
    yield store.path / TASKS / METADATA, None
    for index, task in store.tasks.items():
        group = store.path / TASKS / task_folder(index)
        yield group / METADATA, store.record.tasks[str(index)]
        for name, file in sorted(task.record.files.items()):
            yield group / name, file.sha256


def _figure(store: Store, records: Sequence[TaskRecord]) -> bytes:
    return returns_figure(store.name, store.family, records).encode()


def _card(own: CardStore, reference: HubReference, head: str | None, remote: Mapping[str, object]) -> str:
    """The card of the repository: of this store and of the others in it."""
    stores, existing = [own], ""
    if head is not None:
        end = f"{SUFFIX}/{METADATA}"
        roots = {path.removesuffix(f"/{METADATA}") for path in remote if path.endswith(end)}
        for folder in sorted(roots - {store_file(own.name)}):
            if "/" in folder:
                continue
            published = open_published(reference, head, folder)
            record, files = published.root.record, parquet_of(folder, remote)
            stores.append(CardStore(record, list(published.records.values()), files))
        if CARD in remote:
            existing = existing_card(reference, head)
    return dataset_card(reference.repository, stores, existing)
