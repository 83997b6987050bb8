"""The method of DreamCache (CVPR 2025) in torch. One formula, one short file.

    photo, mask --preprocess--> white packshot --VAE--> latent --tap (t = 1, null text)--> features
    features --adapter.project--> keys, values (once per subject)
    latents, text --unet.encoder_half--> state --unet.decoder_half + inject--> predictions
    predictions --guidance--> one prediction --sampler--> next latents

Importing a module of this package imports torch; `dreamcache` itself does not. Nothing here knows of Ray,
jobs or object storage.
"""
