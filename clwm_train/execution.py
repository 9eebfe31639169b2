"""Where and how a training or an evaluation is executed."""

from __future__ import annotations

import torch

from clwm_data.errors import UnavailableError


def pick_device(name: str | torch.device) -> torch.device:
    """A device by name; ``auto`` is a GPU if there is one.

    Raises:
        UnavailableError: the device cannot be used here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UnavailableError(
            f"device {str(name)!r} cannot be used here: {str(error).splitlines()[0]}"
        ) from error
    return device
