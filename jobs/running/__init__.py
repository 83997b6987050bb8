"""A run: plan - ledger -> Ray Data pipeline -> counts, within a budget. Knows Ray; never imports torch."""
