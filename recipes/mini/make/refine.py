"""Stage refine: the autoencoder continues on whole pictures; the loop, the loss and the gate are those of `vae`.

Crops train faster and are blind to what lies beyond their border, group norms included; whole pictures close the gap.
"""

from recipes.mini.make.settings import Settings
from recipes.mini.make.vae import Phase, fit, load_vae


def run(settings: Settings) -> None:
    """Train until the gate or the budget is reached; leaves vae/refine.pt."""
    fit(settings, Phase(name="refine", minutes=settings.refine_minutes, rate=settings.refine_lr, crops=False),
        load_vae(settings))  # fmt: skip
