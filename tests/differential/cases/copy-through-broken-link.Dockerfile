FROM diff-base
RUN ln -s /nowhere/yet /pointer
COPY a.txt /pointer/
