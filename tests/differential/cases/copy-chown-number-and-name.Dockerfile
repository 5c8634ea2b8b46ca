FROM diff-base
COPY --chown=1000:staff a.txt /1
COPY --chown=alice:77 a.txt /2
