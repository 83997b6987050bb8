"""The recipe's optimizer: two processes that share its work take the step that one takes."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from recipes.mini.make.optimizer import MatrixAdam
from recipes.mini.make.parallel import Team, launch
from recipes.mini.make.settings import Settings


def _steps(team: Team, settings: Settings) -> None:
    """Three steps; each process writes the weights it has then."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 24, 3), nn.Linear(40, 32), nn.Linear(32, 16), nn.Linear(16, 16))
    optimizer = MatrixAdam(model.parameters(), lr=0.01, team=team)
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    torch.save(model.state_dict(), settings.work / f"{team.rank}-of-{team.size}.pt")


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    for processes in (1, 2):
        launch(Settings(work=tmp_path, processes=processes, threads=1), _steps)
    alone, first, second = (torch.load(tmp_path / name) for name in ("0-of-1.pt", "0-of-2.pt", "1-of-2.pt"))
    for name, expected in alone.items():
        torch.testing.assert_close(first[name], expected)
        torch.testing.assert_close(second[name], expected)
