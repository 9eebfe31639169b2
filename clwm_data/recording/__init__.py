"""Recording episodes of any loop into a store: environments that others step, logs of real robots."""

from clwm_data.recording.recorder import Recorder
from clwm_data.recording.taking_in import recover_recording

__all__ = ["Recorder", "recover_recording"]
