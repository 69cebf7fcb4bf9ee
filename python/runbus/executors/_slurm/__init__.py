"""What Slurm is told, and what its answers mean: pure parts, and what runs them on a login node."""
