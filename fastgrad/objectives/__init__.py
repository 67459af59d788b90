"""What can be perturbed. Every objective answers the calls of `fastgrad.objectives.base`."""
