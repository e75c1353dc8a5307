"""Flower's side: the client app, grids, faults, devices, and what a process holds."""
