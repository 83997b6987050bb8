"""How good images are: similarity to the real subject and to the prompt, as in the paper (docs/method.md section 6).

    image + real photos + prompt --Scorer--> Score   one row per image     score, encoders
    Scores --scores ledger--> rows --summarize--> subjects, methods        scores, summary, bootstrap
    summary -> report.md, Parquet, SVG                                     report, plot

    dreambench  the published folder layout, read        folder     images of another method, read

encoders and score need torch; the others do not. Nothing here knows of Ray or jobs.
"""
