"""Ray clusters: joining one, submitting to one by the Jobs API, seeing what runs there."""
