FROM diff-base
RUN --mount=target=/ctx,readwrite echo x > /ctx/new && ls /ctx/new > /seen
