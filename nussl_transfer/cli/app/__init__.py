"""The page of ``nussl-transfer app``, made with gradio, which is an extra (``pip install "nussl-transfer[app]"``).

    server.py        the web server and its temporary folder; refuses requests of other web sites
    page.py          the page and its two tabs
    separate_tab.py  drop a file, choose a model, listen to the stems
    finetune_tab.py  check a folder of stems, fine-tune on it, use the result
    training.py      start, watch and stop the process that fine-tunes
    visitors.py      the uploads and the stems of each visitor, and their removal
    boxes.py         stems, errors and notes as HTML; spectrograms
    examples.py      synthesised mixtures to try

The tabs call `separate`, `check` and the command ``nussl-transfer finetune``, which do the work.
"""
