"""Hostile and clumsy inputs by kind, each with the outcome it must have. `kind` says what a kind is."""
