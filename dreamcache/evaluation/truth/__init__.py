"""Is the product on an image the product of the photo? Scores of colour, label, outline, count, and of a blank image.

    photo, image --segmenter--> Views --> palette, outline   |
                                      --> ocr -> words       |-> check.Truth, one score each

Each measure is a file that knows pixels, masks or words; `check` joins them. Knows nothing of thresholds or jobs.
"""
