"""The clwm command."""
