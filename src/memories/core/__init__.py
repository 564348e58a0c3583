"""Import paths of the seeds: managers, policies and the four tiers."""
