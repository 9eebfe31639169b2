"""Trained agents on the Hub: a model repository holds a run's folder, as far as acting needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
import torch
from huggingface_hub.hf_api import RepoFile

from clwm_data.errors import ClwmError
from clwm_data.hub.cache import remember, remembered
from clwm_data.hub.client import call
from clwm_data.hub.plan import Plan, deleted, existing_card, planned, remote_files
from clwm_data.hub.publication import Publication
from clwm_data.hub.published import find_published, resolve_commit
from clwm_data.hub.reference import HubReference, parse_reference, repository_reference
from clwm_data.pages.markdown import CARD
from clwm_data.store.digest import file_sha256
from clwm_data.store.format import Origin
from clwm_data.yaml_text import dump_yaml
from clwm_train.acting.adaptive import AdaptiveAgent
from clwm_train.evaluate.results import EARLIER, EVALUATIONS, evaluation_text, read_evaluations
from clwm_train.hub.model_card import CardAgent, model_card
from clwm_train.runs.checkpoint import AGENT, INDEX, latest_checkpoint, read_record
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import CHECKPOINTS, CONFIG, RECORD, Run, open_run

#: What a published run consists of; nothing else is downloaded.
SMALL_FILES = (CONFIG, RECORD)
EVALUATION_FILE = re.compile(rf"{EVALUATIONS}/(step-[0-9]{{9}})-[0-9a-f]{{8}}\.json")
CHECKPOINT_FILE = re.compile(rf"{CHECKPOINTS}/(step-[0-9]{{9}})/({re.escape(AGENT)}|{re.escape(INDEX)})")
MAX_SMALL_BYTES = 10**7


def publish_run(
    path: Path, repository: str, branch: str | None = None, dataset: str | None = None
) -> Publication:
    """A run's latest agent, ready to be published: its tensors first, then configuration, results and card.

    Args:
        path: of the run.
        repository: model repository ``user/name``.
        branch: instead of the default one.
        dataset: where the data is published, ``user/repo[@revision][/x.zarr]``, for a run that was trained on
            data before they were; a run on downloaded data knows.

    Raises:
        ClwmError: the run has no sound checkpoint, or no evaluation of it, or the dataset holds other data.
    """
    run = open_run(path)
    reference = repository_reference(repository, branch, "model")
    checkpoint = latest_checkpoint(run.checkpoints)
    agent = load_agent(run, checkpoint=checkpoint)
    for name, tensor in agent.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ClwmError(f"{checkpoint / AGENT}: {name} holds a value that is not finite: not published")
    evaluations = tuple(one for one in read_evaluations(run) if one.checkpoint == checkpoint.name)
    if not evaluations:
        raise ClwmError(f"{path}: {checkpoint.name} was not evaluated: `clwm eval {path}` first")
    origin = run.record.origin if dataset is None else _origin(run, dataset)
    card = CardAgent(
        run,
        step=read_record(checkpoint).step,
        parameters=sum(parameter.numel() for parameter in agent.parameters()),
        evaluations=evaluations,
        dataset=origin,
    )
    title = f"{run.record.method} on {run.record.store_name}: {card.step:,} updates"
    return Publication(reference, title, lambda head: _plan(run, checkpoint, card, reference, head))


def cached_run(reference: HubReference) -> Path:
    """The folder of a published run, downloaded into the Hub's own cache.

    With HF_HUB_OFFLINE, what was downloaded before is used.

    Raises:
        ClwmError: no such run, or it cannot be downloaded.
    """
    if huggingface_hub.constants.is_offline_mode():
        return _folder(reference, remembered(reference))
    commit = resolve_commit(reference)
    files = _published_files(reference, remote_files(reference, commit))
    for name, entry in files.items():
        _download(reference, commit, name, entry)
    remember(reference, commit)
    return _folder(reference, commit)


def load_published(text: str, device: str = "cpu") -> AdaptiveAgent:
    """The agent of a published run.

    Args:
        text: ``user/repo[@revision]``, with or without ``hf://models/`` before it.
        device: to have it on.

    Raises:
        ClwmError: no such run, or it cannot be downloaded or read.
    """
    folder = cached_run(parse_reference(text, "model"))
    return load_agent(open_run(folder), device=torch.device(device))


def published_dataset(run: Run) -> HubReference | None:
    """Where the data of a run is published, as far as the run knows."""
    origin = run.record.origin
    return None if origin is None else HubReference(origin.repository, origin.revision, origin.store)


def _origin(run: Run, dataset: str) -> Origin:
    for published in find_published(parse_reference(dataset)):
        if published.root.record.content_sha256 == run.record.store_sha256:
            return published.origin
    raise ClwmError(f"{dataset}: holds other data than {run.path} was trained on ({run.record.store_name})")


def _plan(run: Run, checkpoint: Path, card: CardAgent, reference: HubReference, head: str | None) -> Plan:
    remote = {} if head is None else remote_files(reference, head)
    inside = f"{CHECKPOINTS}/{checkpoint.name}"
    existing = existing_card(reference, head) if head is not None and CARD in remote else ""
    # Where the data lay on this machine is nobody's business.
    store = card.dataset.store if card.dataset is not None else run.record.store_name
    record = run.record.model_copy(update={"store": store, "origin": card.dataset})
    data = [planned(f"{inside}/{AGENT}", checkpoint / AGENT, remote)]
    last = [
        planned(f"{inside}/{INDEX}", checkpoint / INDEX, remote),
        planned(CONFIG, run.path / CONFIG, remote),
        planned(RECORD, dump_yaml(record.model_dump(mode="json")).encode(), remote),
        *(
            planned(f"{EVALUATIONS}/{one.name}", evaluation_text(one).encode(), remote)
            for one in card.evaluations
        ),
        planned(CARD, model_card(reference.repository, card, existing).encode(), remote),
    ]
    kept = {file.path for file in [*data, *last]}
    ours = (f"{CHECKPOINTS}/", f"{EVALUATIONS}/", *EARLIER)
    stale = sorted(path for path in remote if path.startswith(ours) and path not in kept)
    return Plan(head, data, [*last, *map(deleted, stale)])


def _published_files(reference: HubReference, remote: Mapping[str, RepoFile]) -> dict[str, RepoFile]:
    """The files of a published run's newest checkpoint, and its small files."""
    for name in (CONFIG, RECORD):
        if name not in remote:
            raise ClwmError(f"{reference}: is not a published run: it has no {name}")
    matches = [match for path in remote if (match := CHECKPOINT_FILE.fullmatch(path))]
    steps = sorted({match[1] for match in matches})
    if not steps:
        raise ClwmError(f"{reference}: holds no checkpoint: its upload is not complete")
    wanted = [match[0] for match in matches if match[1] == steps[-1]]
    results = [
        path for path in remote if (match := EVALUATION_FILE.fullmatch(path)) and match[1] == steps[-1]
    ]
    small = [*SMALL_FILES, *sorted(results)]
    for name in (*small, *wanted):
        if not name.endswith(AGENT) and remote[name].size > MAX_SMALL_BYTES:
            raise ClwmError(f"{reference}/{name}: has {remote[name].size} bytes, more than {MAX_SMALL_BYTES}")
    return {name: remote[name] for name in (*wanted, *small)}


def _download(reference: HubReference, commit: str, name: str, entry: RepoFile) -> None:
    """Have a file in the Hub's cache, a large one compared with the digest that the repository lists."""
    for again in (False, True):
        file = call(
            str(reference),
            huggingface_hub.hf_hub_download,
            reference.repository,
            name,
            revision=commit,
            repo_type=reference.kind,
            force_download=again,
            library_name="clwm",
        )
        if entry.lfs is None or file_sha256(Path(file)) == entry.lfs.sha256:
            return
    raise ClwmError(f"{reference}/{name}: what arrives does not have the published digest: try again later")


def _folder(reference: HubReference, commit: str) -> Path:
    """Where the Hub's cache keeps a run that was downloaded completely."""
    file = huggingface_hub.try_to_load_from_cache(
        reference.repository, RECORD, revision=commit, repo_type=reference.kind
    )
    if not isinstance(file, str):
        raise ClwmError(f"{reference}: is no longer in the cache: download it again")
    return Path(file).parent
