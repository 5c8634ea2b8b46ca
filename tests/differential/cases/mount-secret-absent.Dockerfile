FROM diff-base
RUN --mount=type=secret,id=absent test -e /run/secrets/absent && echo there > /seen || echo absent > /seen
