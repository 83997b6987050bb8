"""The parts of adapter training; the verb that joins them is `dreamcache.training.trainer`.

    sources -> dataset ------> loss -> gradients -> optimizer -> average
                                |                                  |
                             curves: right / wrong / no reference  checkpoints -> export

Plain Python and torch; nothing here knows Ray or jobs.
"""
