"""The Hugging Face Hub: publishing stores and downloading them.

Only :mod:`clwm_data.hub.reference` is used for local stores, and it does not import the Hub's client.
"""
