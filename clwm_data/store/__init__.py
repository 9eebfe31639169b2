"""The store: one Zarr hierarchy per dataset, one group per task."""

from clwm_data.store.arrays import Episode, TaskArrays
from clwm_data.store.reader import Store
from clwm_data.store.stored_task import StoredTask

__all__ = ["Episode", "Store", "StoredTask", "TaskArrays"]
