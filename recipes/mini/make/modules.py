"""The modules of the embedded model: the real classes, at tiny size. Knows configurations only."""

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPConfig, CLIPModel

from dreamcache.model.adapter import DreamCacheAdapter
from dreamcache.model.places import all_places, place_shapes
from recipes.mini.make.settings import LATENT, SIZE

TEXT_WIDTH = 128
MAX_TOKENS = 77


def new_vae(latent_channels: int) -> AutoencoderKL:
    """64 px to 16 x 16 cells. The latents' statistics are folded into the quant convolutions: scaling factor 1."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 96),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def new_clip(vocabulary: int, start: int, end: int) -> CLIPModel:
    """A text and an image encoder with one embedding space of 128 dimensions."""
    text = {
        "vocab_size": vocabulary, "hidden_size": TEXT_WIDTH, "intermediate_size": 4 * TEXT_WIDTH,
        "projection_dim": 128, "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": MAX_TOKENS, "bos_token_id": start, "eos_token_id": end, "pad_token_id": end,
    }  # fmt: skip
    vision = {
        "hidden_size": 128, "intermediate_size": 512, "projection_dim": 128, "num_hidden_layers": 4,
        "num_attention_heads": 4, "image_size": SIZE, "patch_size": 8,
    }  # fmt: skip
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=128))


def new_unet(latent_channels: int) -> UNet2DConditionModel:
    """Transformers at every level: a middle place and six decoder places."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(96, 128, 192),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(3, 4, 6),  # number of heads, as diffusers understands it: 32 channels each
        norm_num_groups=16,
        use_linear_projection=True,
    )


def new_adapter(unet: UNet2DConditionModel) -> DreamCacheAdapter:
    """Adapters at the middle and at every decoder transformer."""
    places = [place for place in all_places(unet) if not place.startswith("down_blocks")]
    return DreamCacheAdapter(place_shapes(unet, places))


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
