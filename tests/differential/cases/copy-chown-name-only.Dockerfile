FROM diff-base
COPY --chown=alice a.txt /home/alice/
