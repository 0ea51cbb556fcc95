"""Who answers calls: the gateway, and the rollout that tells it which version answers how many."""
