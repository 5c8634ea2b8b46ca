FROM diff-base
RUN --mount=type=tmpfs,target=/tmp echo x > /tmp/f && cp /tmp/f /f
