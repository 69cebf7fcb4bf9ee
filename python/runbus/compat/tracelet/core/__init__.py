"""What Tracelet has in `tracelet.core`."""
