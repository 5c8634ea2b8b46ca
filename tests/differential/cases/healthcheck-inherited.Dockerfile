FROM diff-base AS p
HEALTHCHECK --interval=9s CMD x
FROM p
RUN true
