"""IP-Adapter on a Stable Diffusion base, through diffusers: a baseline to compare with."""
