"""Integrations: the ways a reference's features enter a transformer block of the base (docs/method.md section 7).

    block input x --norm1--> self-attention --+--norm2--> text attention --+--norm3--> feed-forward --+--> block output
                    spatial_concat, spatial_sum             textual_sum                                 decoupled

Each is one class behind one interface (`base.Integration`), chosen by its name in the adapter's config.json. Know the
block they act on; know nothing of hooks, batches or files (see `inject`, `adapter_io`).
"""

from __future__ import annotations

from collections.abc import Mapping

from dreamcache.core.config import IntegrationName
from dreamcache.model.integration.base import Integration, KeysValues, PlaceShape
from dreamcache.model.integration.decoupled import Decoupled
from dreamcache.model.integration.spatial_concat import SpatialConcat
from dreamcache.model.integration.spatial_sum import SpatialSum
from dreamcache.model.integration.textual_sum import TextualSum

__all__ = ["INTEGRATIONS", "Integration", "KeysValues", "PlaceShape"]

INTEGRATIONS: Mapping[IntegrationName, type[Integration]] = {
    "spatial_concat": SpatialConcat,
    "spatial_sum": SpatialSum,
    "textual_sum": TextualSum,
    "decoupled": Decoupled,
}
