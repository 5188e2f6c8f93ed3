"""MLflow's copy of what happens."""
