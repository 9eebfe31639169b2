"""Trainer: contextual latent world models, their baselines, and their evaluation."""
