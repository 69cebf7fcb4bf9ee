"""The ports of services, by the modules that ExperimentHub keeps them in."""
