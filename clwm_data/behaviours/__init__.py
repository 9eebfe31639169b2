"""Behaviour policies: who acts when a dataset is collected."""
