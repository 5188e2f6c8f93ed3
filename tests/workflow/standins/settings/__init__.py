"""params.yaml: read, checked, resolved into the settings of jobs; which code and files a job depends on."""
