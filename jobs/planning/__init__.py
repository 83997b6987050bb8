"""What a job would do: catalog -> subjects -> plan rows; joined with the ledger, and estimated. Runs nothing."""
