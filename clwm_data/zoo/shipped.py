"""Finding a family's trained policies: in the package, or in a folder that a training run wrote."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from clwm_data.errors import ConflictError, NotFoundError
from clwm_data.families.base import TaskFamily
from clwm_data.file_state import FileState, file_state
from clwm_data.zoo.names import CARD

if TYPE_CHECKING:
    from clwm_data.zoo.card import Card, CheckpointRecord
    from clwm_data.zoo.policy_set import PolicySet

_ROOT = Path(__file__).parent


def shipped_folder(family: TaskFamily) -> Path | None:
    """The family's zoo folder in this package; ``None`` if no policies ship for it."""
    folder = _ROOT / (family.policies_of or family.name)
    return folder if (folder / CARD).is_file() else None


def zoo_folder(family: TaskFamily, zoo: str | None) -> Path | None:
    """The folder that ``zoo`` means; ``None`` if none ships for the family.

    Args:
        family: the family of the policies.
        zoo: a folder, or the name of further policies that ship with clwm, such as ``ant-dir-unturned``;
            ``None`` for those that ship as the family's.
    """
    if zoo is None:
        return shipped_folder(family)
    named = _ROOT / zoo
    is_name = PurePath(zoo).name == zoo and not Path(zoo).exists()
    return named if is_name and (named / CARD).is_file() else Path(zoo)


def find_zoo(family: TaskFamily, zoo: str | None) -> tuple[Path, Card]:
    """A zoo folder and its card.

    Args:
        family: the family of the policies.
        zoo: as in :func:`zoo_folder`.

    Raises:
        ClwmError: there is no such folder, or its card cannot be used.
    """
    from clwm_data.zoo.card import read_card  # here: whether policies ship is known without a card

    folder = zoo_folder(family, zoo)
    if folder is None:
        raise NotFoundError(
            f"family {family.name} has no trained policies yet: make some with `clwm behaviour train "
            f"{family.name} --out RUN`, and name them with `zoo: RUN/zoo`"
        )
    return folder, read_card(folder, family)


def find_checkpoint(family: TaskFamily, zoo: str | None, quality: int) -> CheckpointRecord:
    """The record of a checkpoint.

    Raises:
        ClwmError: as :func:`find_zoo`, or there is no checkpoint of that quality.
    """
    return find_zoo(family, zoo)[1].checkpoint(quality)


def find_policies(family: TaskFamily, zoo: str | None, quality: int, sha256: str | None) -> PolicySet:
    """The policies of a checkpoint, ready to act.

    Args:
        family: the family of the policies.
        zoo: as in :func:`find_zoo`.
        quality: quality of the checkpoint.
        sha256: SHA-256 that its file must have; ``None`` accepts whatever the zoo has now.

    Raises:
        ClwmError: the checkpoint does not exist, or its file is another one.
    """
    folder = zoo_folder(family, zoo)
    state = None if folder is None else file_state(folder / CARD)
    return _policies(family, zoo, (quality, sha256), state)


@lru_cache(maxsize=16)
def _policies(
    family: TaskFamily, zoo: str | None, checkpoint_key: tuple[int, str | None], state: FileState
) -> PolicySet:
    """Policies, cached until the card, which holds their digests, changes (``state``)."""
    from clwm_data.zoo.card import load_policies

    quality, sha256 = checkpoint_key
    folder, card = find_zoo(family, zoo)
    checkpoint = card.checkpoint(quality)
    if sha256 not in (None, checkpoint.sha256):
        raise ConflictError(
            f"checkpoint {quality} of {family.name} is not the one that the manifest names (sha-256 "
            f"{checkpoint.sha256[:12]}..., not {str(sha256)[:12]}...): use the clwm version that collected it"
        )
    return load_policies(folder, card, checkpoint)
