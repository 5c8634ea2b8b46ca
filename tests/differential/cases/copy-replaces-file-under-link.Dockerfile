FROM diff-base
RUN echo old > /target && ln -s /target /pointer
COPY a.txt /pointer
