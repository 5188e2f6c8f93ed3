"""MLflow's copy of what happens: one experiment for each dataset, one run for each method, configuration and seed.

A mirror: no result depends on it, and a run is found by its content (`run_key`), never by an id that some file would
have to keep. So an empty or lost database breaks nothing, a killed training that is resumed reopens its run, and the
evaluation later sends whatever the training could not deliver. The trainings of one method that differ only in their
seed stand under one parent run with their means (`parents`), the tables of the papers under one parent each (`papers`).

The server is MLFLOW_TRACKING_URI, or mlflow.db in the project's folder. Only this folder imports mlflow. Where MLflow
is not installed, nothing is mirrored and one line says so; if MLFLOW_TRACKING_URI is set, that is an error instead.
"""
