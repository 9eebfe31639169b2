"""Runs beside each other: tables, figures and one self-contained page."""
