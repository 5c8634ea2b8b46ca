FROM diff-base AS p
ENV A=1 B=2
FROM p
ENV B=3 C=$A
