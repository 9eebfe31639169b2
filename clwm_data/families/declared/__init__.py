"""Families that a YAML file declares over any Gymnasium environment."""

from clwm_data.families.declared.declaration import FamilyDeclaration
from clwm_data.families.declared.family import DeclaredFamily, declared_family

__all__ = ["DeclaredFamily", "FamilyDeclaration", "declared_family"]
