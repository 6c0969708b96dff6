"""Trajectories of any agent, recorded in a file, as a task."""
