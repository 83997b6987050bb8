"""`dreamcache doctor`: everything a job stands on, tried out before it is run, each check by itself.

    job.yaml -> trials: storage | credentials | model | cluster (report) -> versions, model, memory of the nodes
                   each under a time limit -> Check(name, state, finding, remedy)

check.py    what a check is, and how one that hangs or raises costs only itself
places.py   catalog, cache and output: write, conditional write, list, latency
credentials.py, model.py     of this machine
cluster.py, report.py        a process of its own joins the cluster and asks every node
"""

from jobs.doctor.check import Check
from jobs.doctor.examine import examine

__all__ = ["Check", "examine"]
