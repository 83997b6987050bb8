"""Model folders, read without loading weights: where they are, what they contain, their fingerprints.

    artifacts.py  base models and adapters      encoders.py  encoders of metrics and of the quality gate

Imports no torch: the planner needs fingerprints on machines that have none.
"""
