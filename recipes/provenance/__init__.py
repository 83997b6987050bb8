"""How the marks of provenance were measured. Not in the wheel."""
