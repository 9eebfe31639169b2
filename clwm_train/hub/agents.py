"""Trained agents on the Hub: a model repository holds the part of a run's folder that acting needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import torch

from clwm_data.errors import DamagedDataError, InvalidInputError, NotFoundError
from clwm_data.families.stored import StoredFamily
from clwm_data.hub.client import read_file
from clwm_data.hub.outgoing import file_name, without_paths
from clwm_data.hub.plan import Plan, deleted, existing_card, planned, remote_files
from clwm_data.hub.publication import Publication
from clwm_data.hub.published import find_published
from clwm_data.hub.reference import HubReference, parse_reference, repository_reference
from clwm_data.pages.markdown import CARD
from clwm_data.pages.numbers import plural
from clwm_data.store.command_line import without_folders
from clwm_data.store.format import Origin
from clwm_data.strict import parse_yaml
from clwm_data.yaml_text import dump_yaml
from clwm_train.evaluation.results import EARLIER, EVALUATIONS, evaluation_text, read_evaluations
from clwm_train.hub.model_card import CardAgent, model_card
from clwm_train.runs.checkpoint import AGENT, INDEX, latest_checkpoint, read_record
from clwm_train.runs.finding import CHECKPOINT_FILE, MAX_TEXT_BYTES
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import CHECKPOINTS, CONFIG, RECORD, Run, open_run


def publish_run(
    path: Path, repository: str, branch: str | None = None, dataset: str | None = None
) -> Publication:
    """A run's latest agent, ready to be published: its tensors first, then configuration, results and card.

    Args:
        path: folder of the run.
        repository: model repository ``user/name``.
        branch: branch to publish to, instead of the default one.
        dataset: where the data are published, ``user/repo[@revision][/x.zarr]``, if they were published after
            the run was trained; a run on downloaded data has recorded it.

    Raises:
        ClwmError: the run has no intact checkpoint, or no evaluation of it although its family is installed,
            or the dataset holds other data.
    """
    run = open_run(path)
    reference = repository_reference(repository, branch, "model")
    checkpoint = latest_checkpoint(run.checkpoints)
    agent = load_agent(run, checkpoint=checkpoint)
    for name, tensor in agent.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise DamagedDataError(
                f"{checkpoint / AGENT}: {name} holds a value that is not finite: not published"
            )
    evaluations = tuple(one for one in read_evaluations(run) if one.checkpoint == checkpoint.name)
    if not evaluations and not isinstance(run.task_family, StoredFamily):
        raise NotFoundError(f"{path}: {checkpoint.name} was not evaluated: `clwm eval {path}` first")
    origin = run.record.origin if dataset is None else _origin(run, dataset)
    run = _outgoing(run, origin)
    card = CardAgent(
        run,
        step=read_record(checkpoint).step,
        parameters=sum(parameter.numel() for parameter in agent.parameters()),
        evaluations=evaluations,
        dataset=origin,
    )
    title = f"{run.label} on {run.record.store_name}: {plural(card.step, 'update')}"
    return Publication(reference, title, lambda head: _plan(run, checkpoint, card, reference, head))


def _origin(run: Run, dataset: str) -> Origin:
    for published in find_published(parse_reference(dataset)):
        if published.root.record.content_sha256 == run.record.store_sha256:
            return published.origin
    raise InvalidInputError(
        f"{dataset}: holds other data than {run.path} was trained on ({run.record.store_name})"
    )


def _outgoing(run: Run, origin: Origin | None) -> Run:
    """The run without paths of this machine, which are private."""
    record = run.record
    store = record.store_name if origin is None else origin.store
    declared = record.declared_family
    changes = {
        "declared_family": declared
        and declared.model_copy(update={"arguments": without_paths(declared.arguments)}),
        "method": file_name(record.method),
        "preset": file_name(record.preset),
        "store": store,
        "origin": origin,
        "command": without_folders(record.command),
    }
    return replace(run, record=record.model_copy(update=changes))


def _plan(run: Run, checkpoint: Path, card: CardAgent, reference: HubReference, head: str | None) -> Plan:
    remote = {} if head is None else remote_files(reference, head)
    inside = f"{CHECKPOINTS}/{checkpoint.name}"
    existing = existing_card(reference, head) if head is not None and CARD in remote else ""
    record = dump_yaml(run.record.model_dump(mode="json"))
    data = [planned(f"{inside}/{AGENT}", checkpoint / AGENT, remote)]
    last = [
        planned(f"{inside}/{INDEX}", checkpoint / INDEX, remote),
        planned(CONFIG, run.path / CONFIG, remote),
        planned(RECORD, record.encode(), remote),
        *(
            planned(f"{EVALUATIONS}/{one.name}", evaluation_text(one).encode(), remote)
            for one in card.evaluations
        ),
        planned(CARD, model_card(reference.repository, card, existing).encode(), remote),
    ]
    kept = {file.path for file in [*data, *last]}
    ours = (f"{CHECKPOINTS}/", f"{EVALUATIONS}/", *EARLIER)
    stale = sorted(path for path in remote if path.startswith(ours) and path not in kept)
    losses = [] if head is None else _losses(run, checkpoint, reference, head, remote)
    return Plan(head, data, [*last, *map(deleted, stale)], losses)


def _losses(
    run: Run, checkpoint: Path, reference: HubReference, head: str, remote: Collection[str]
) -> list[str]:
    """What a push would overwrite: another run's agent, or a later checkpoint of this one."""
    if RECORD not in remote:
        return []
    document = parse_yaml(
        read_file(reference, head, RECORD, MAX_TEXT_BYTES).decode(errors="replace"), f"{reference}/{RECORD}"
    )
    ours = run.record.model_dump(mode="json")
    other = [key for key in ("created", "seeds", "store_sha256") if document.data.get(key) != ours[key]]
    if other:
        return [
            f"another run is published there ({other[0]} {document.data.get(other[0])}), and would be "
            "replaced"
        ]
    steps = [match[1] for path in remote if (match := CHECKPOINT_FILE.fullmatch(path))]
    if max(steps, default="") > checkpoint.name:
        return [f"its later checkpoint {max(steps)} is published there, and would be deleted"]
    return []
