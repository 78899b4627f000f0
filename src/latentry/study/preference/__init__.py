"""The preference study: people choose one of two images (two-alternative forced choice; the paper's E.3.6).

A study is a folder: `study.json` (what is asked), `images/` (all that the page shows), `answers.sqlite`. `make` draws
it up from folders of images, `Study` asks one person after the other, `server` shows it as a page, `report` reads the
answers.
"""
