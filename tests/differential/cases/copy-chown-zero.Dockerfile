FROM diff-base
USER alice
COPY --chown=0 a.txt /f
COPY --chown=0:0 b.txt /g
