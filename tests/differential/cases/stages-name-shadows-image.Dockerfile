FROM scratch AS diff-base
COPY a.txt /
FROM diff-base
COPY b.txt /
