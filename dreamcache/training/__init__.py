"""The parts of adapter training; the verb that joins them is `dreamcache.training.trainer`.

    sources -> dataset -> loss -> gradients -> optimizer -> EMA
                         |                               |
                      curves: right / wrong / none    checkpoints -> export

Plain Python and torch; nothing here knows Ray or jobs.
"""
