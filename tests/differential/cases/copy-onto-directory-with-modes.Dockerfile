FROM diff-base
RUN mkdir -m 0700 /d && chown alice /d
COPY dir /d
