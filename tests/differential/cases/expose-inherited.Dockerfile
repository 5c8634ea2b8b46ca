FROM diff-base AS p
EXPOSE 1
FROM p
EXPOSE 2/udp
