"""The ground: settings, records, ids, errors and images, which every other package imports.

    config/  settings, checked when constructed     records.py  values handed from step to step
    ids.py   content hashes                         images/     bytes <-> pixels
    errors.py  errors with a stable code

Knows no models, no storage and no Ray. Imports no torch.
"""
