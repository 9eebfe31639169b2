"""Names of files in a zoo folder."""

#: The zoo card.
CARD = "card.yaml"
