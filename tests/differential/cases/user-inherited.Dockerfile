FROM diff-base AS p
USER alice
FROM p
RUN id -u > /tmp/id
