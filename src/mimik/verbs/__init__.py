"""What `mimik <verb>` does: one function for each verb of `mimik.cli`, from the parsed command line.

They write to the same places as the rules of the workflow. Heavy libraries are imported by the verbs that need them.
"""
