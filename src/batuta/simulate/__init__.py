"""The simulated world: a virtual clock, models of what takes how long, faults, and a seed."""
