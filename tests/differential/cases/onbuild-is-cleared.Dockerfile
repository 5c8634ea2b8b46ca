FROM diff-base AS p
ONBUILD RUN echo once >> /n
FROM p AS q
FROM q
RUN cat /n > /seen
