FROM diff-base AS p
VOLUME /a
FROM p
VOLUME /b /a
