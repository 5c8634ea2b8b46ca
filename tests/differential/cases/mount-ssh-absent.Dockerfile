FROM diff-base
RUN --mount=type=ssh echo ${SSH_AUTH_SOCK:-none} > /seen
