"""Training of behaviour policies with stable-baselines3 (needs the extra ``behaviour``)."""
