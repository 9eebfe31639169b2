"""Training of behaviour policies with stable-baselines3 (extra ``behaviour``), and choosing from its runs."""
