"""Deployments: the credentials of one, and runs for a SuperLink that stands."""
