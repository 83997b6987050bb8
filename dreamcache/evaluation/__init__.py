"""How good images are: similarity to the real subject and to the prompt, as in the paper (docs/method.md section 6).

    image + real photos + prompt --Scorer--> Score   one row per image     score, metrics, masked, encoders
    Scores --scores ledger--> rows --summarize--> subjects, methods        scores, summary, bootstrap
    summary -> report.md, Parquet, SVG                                     report, plot, published

    dreambench  the published folder layout, read        folder     images that someone else made, read

encoders, metrics, masked and score need torch; the others do not. Nothing here knows of Ray or jobs.
"""
