"""The conditioning adapter, the only trained parameters: an integration at every place (paper section 3.2).

Which formula joins reference and block, `integration` knows (the paper's: `integration.spatial_concat`); how it acts on
a U-Net, `inject` does.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from dreamcache.core.config import FeatureSource, IntegrationName
from dreamcache.model.integration import INTEGRATIONS, Integration, KeysValues, PlaceShape
from dreamcache.storage.models.artifacts import feature_places

__all__ = ["DreamCacheAdapter", "Integration", "KeysValues", "PlaceShape"]


class DreamCacheAdapter(nn.Module):
    """One integration per place; places are module names of the U-Net's `Transformer2DModel`s.

    features: each place reads its own feature map, or all read the middle block's (docs/method.md section 7).
    """

    def __init__(
        self,
        shapes: Mapping[str, PlaceShape],
        *,
        integration: IntegrationName = "spatial_concat",
        features: FeatureSource = "own",
    ) -> None:
        super().__init__()
        self.shapes = dict(shapes)
        self.integration: IntegrationName = integration
        self.features: FeatureSource = features
        # A module name may not hold a dot, so the places are kept with slashes.
        self.blocks = nn.ModuleDict(
            {_key(place): INTEGRATIONS[integration](shape) for place, shape in shapes.items()}
        )

    @property
    def places(self) -> tuple[str, ...]:
        """Where it acts."""
        return tuple(self.shapes)

    @property
    def feature_places(self) -> tuple[str, ...]:
        """Whose features it reads."""
        return feature_places(self.places, self.features)

    def block(self, place: str) -> Integration:
        block = self.blocks[_key(place)]
        assert isinstance(block, Integration)
        return block

    def project(self, features: Mapping[str, Tensor]) -> dict[str, KeysValues]:
        """Keys and values for every place; features[place] is [B, C, h, w] for each of `feature_places`."""
        read = [feature_places((place,), self.features)[0] for place in self.places]
        return {
            place: self.block(place).project(features[source])
            for place, source in zip(self.places, read, strict=True)
        }


def _key(place: str) -> str:
    return place.replace(".", "/")
