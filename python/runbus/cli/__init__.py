"""The command line: parses into plain values, calls the layers below, prints what they return."""
