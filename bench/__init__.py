"""What arpfast is worth, one file per question; README.md says how to run them and how to read the answers.

    stage.py       the cable, who sits on which core, and one request at a time from Python
    answerers.py   who is measured: the real command, and the others from `lab.peers`
    ledger.py      what was measured, ratios within a round, goals, confidence
    machine.py     on what
    picture.py     the ledger as bars
    figure.py      and its curves
    bench_*.py     the questions

Numbers from one run are compared with each other and with nothing else: machines, and even hours of one machine,
differ by more than answerers do.
"""
