"""Making stores from stores: a part of one, several in one, some episodes less, other rewards."""

from clwm_data.edit.delete import delete_episodes
from clwm_data.edit.merge import merge
from clwm_data.edit.relabel import relabel
from clwm_data.edit.select import select

__all__ = ["delete_episodes", "merge", "relabel", "select"]
