"""From other formats and to them."""
