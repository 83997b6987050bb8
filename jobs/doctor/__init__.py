"""`dreamcache doctor`: everything that a job needs, tried out before it runs, each check by itself.

    job.yaml -> trials: storage | credentials | model | cluster (node_probe) -> versions, model, memory of the nodes
                   each under a time limit -> Check(name, state, finding, remedy)

check.py       what a check is, and how one that hangs or raises costs only itself
locations.py   catalog, cache and output: write, conditional write, list, latency
credentials.py, model.py     of this machine
cluster.py, node_probe.py    a separate process joins the cluster and asks every node
"""

from jobs.doctor.check import Check
from jobs.doctor.examine import examine

__all__ = ["Check", "examine"]
