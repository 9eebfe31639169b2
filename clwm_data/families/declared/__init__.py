"""Families over any Gymnasium environment, declared in a YAML file."""

from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.families.declared.family import DeclaredFamily, declared_family

__all__ = ["DeclaredFamily", "FamilyDeclaration", "declared_family"]
