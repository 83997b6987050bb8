"""Review of a job's images: verdicts from a file or a page into the output's review log, and what follows from them.

    review.csv --verdict_file--> rows --record--> review/ in the output --> manifest columns, counts, retry, export

Knows the output folder and its manifest; knows neither Ray nor models.
"""
