FROM diff-base
RUN --mount=from=diff-base,source=/etc,target=/in cp /in/motd /m
