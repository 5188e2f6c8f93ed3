"""DVC is told what Snakemake made."""
