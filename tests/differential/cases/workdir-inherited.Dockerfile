FROM diff-base AS p
WORKDIR /p
FROM p
WORKDIR q
RUN pwd > here
