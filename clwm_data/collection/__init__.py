"""Collection: from a manifest to a store."""
