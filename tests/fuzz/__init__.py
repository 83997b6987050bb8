"""Coverage-guided fuzzing of everything that reads files of others: `make fuzz`, or python -m tests.fuzz.run."""
