"""What Ray runs: thin actors and tasks around the verbs of `dreamcache`.

    plan rows -> EncodeWorker (feature cache filled) -> GenerateWorker (pixels) -> publish (image, then record)

Rows are Arrow tables. A row that failed carries code and message through the later steps, which pass it on.
Never imports jobs; torch is imported inside the actors only.
"""
