"""How well the quality gate's checks separate changed products from unchanged ones."""
