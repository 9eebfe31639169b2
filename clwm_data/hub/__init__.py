"""The Hugging Face Hub: publishing stores and downloading them.

Only :mod:`clwm_data.hub.reference` and :mod:`clwm_data.hub.resolve` are used for local stores, and neither
imports the Hub's client.
"""
