"""Pipelines on tiny models with random weights, as for `tests/model`."""

from tests.model.conftest import epsilon_base, epsilon_pipe, v_prediction_pipe

__all__ = ["epsilon_base", "epsilon_pipe", "v_prediction_pipe"]
