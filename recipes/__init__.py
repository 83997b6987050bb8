"""How models were trained and measured. Not part of the wheel; may call jobs and workers like any user."""
