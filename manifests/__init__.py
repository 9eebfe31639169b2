"""Manifests bundled with clwm: one YAML file per dataset."""
