"""The page of ``nussl-transfer app``, made with gradio, which is an extra (``pip install "nussl-transfer[app]"``).

    server.py        the web server, its temporary folder, and the refusal of foreign requests
    page.py          the page and its two tabs
    separate_tab.py  drop a file, choose a model, listen to the stems
    finetune_tab.py  check a folder of stems, fine-tune on it, use the result
    training.py      the process that fine-tunes
    visitors.py      the uploads and the stems of each visitor, and their removal
    shown.py         results and errors as HTML, spectrograms as pictures
    examples.py      synthesised mixtures to try

Nothing here computes by itself: the tabs call `separate`, `check` and the command ``nussl-transfer finetune``.
"""
