FROM diff-base AS p
LABEL a=1 b=2
FROM p
LABEL b=3 c=4
