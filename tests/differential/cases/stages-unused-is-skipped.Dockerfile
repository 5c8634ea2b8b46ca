FROM diff-base AS broken
RUN false
FROM scratch
COPY a.txt /
