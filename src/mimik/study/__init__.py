"""What people see in edits: pages of blinded comparisons, the answers sent back, their analysis (docs/study.md)."""
