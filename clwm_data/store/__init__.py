"""The store: one Zarr hierarchy per dataset, one group per task."""
