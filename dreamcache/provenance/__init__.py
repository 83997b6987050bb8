"""Marks of generated images: written into every file of a job, and found again in any file.

    pixels -> xmp.packet -> encoded file -> c2pa_sign.Signer -> committed file      marker.Marker joins the steps
    file   -> xmp.read, c2pa_read.read, ledger's hashes      -> detect.Detection, with a verdict

Each layer stands alone: XMP is a statement, C2PA is signed and shows changes, perceptual hashes find a file that lost
both. Knows images, settings and ledgers; nothing of models, Ray or jobs.
"""
