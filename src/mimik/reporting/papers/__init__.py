"""What the papers print beside what was measured here: their tables, their figures, and whether their claims hold."""
