"""Training behaviour policies with stable-baselines3 (extra ``behaviour``), and choosing checkpoints."""
