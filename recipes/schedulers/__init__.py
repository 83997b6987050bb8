"""Recipes for schedulers, and what runs them with the real ones: `check`."""
