"""A Hub to practise on, until Ctrl-C: ``python -m tests.practice_hub`` (docs/tutorials/share.md).

What it prints points the Hub's client of a shell at it.
"""

from __future__ import annotations

import sys
import threading

from tests.hub_server import TOKEN, HubServer

if __name__ == "__main__":
    hub = HubServer().start()
    sys.stdout.write(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={TOKEN} HF_HUB_DISABLE_XET=1\n")
    sys.stdout.flush()
    threading.Event().wait()
