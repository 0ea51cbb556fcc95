"""Where a job's work runs: as a process of this machine, on Ray, or on Kubernetes."""
