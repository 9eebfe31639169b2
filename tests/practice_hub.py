"""A Hub to practise on, until Ctrl-C: ``python -m tests.practice_hub`` (docs/tutorials/share.md).

What it prints points the Hub's client of a shell at it.
"""

from __future__ import annotations

import threading

from tests.hub_server import TOKEN, HubServer

if __name__ == "__main__":
    hub = HubServer().start()
    print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1", flush=True)
    threading.Event().wait()
