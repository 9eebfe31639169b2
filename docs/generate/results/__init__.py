"""The reference results: small files of finished runs in results/, and the tables and figures made of them.

``python -m docs.generate.results add runs/benchmark`` copies the small files of finished runs to results/;
``python -m docs.generate.results`` (``make results``) fills in docs/results.md and the pages below
docs/results/, and draws their figures.
"""
